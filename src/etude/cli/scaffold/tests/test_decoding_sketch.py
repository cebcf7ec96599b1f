from pathlib import Path

import torch

from etude.cli.main import main
from etude.plugins.decoding.sketch import Sketch, SketchConfig


def test_what_is_too_unlikely_is_never_drawn_and_the_likeliest_always_can_be() -> None:
    logits = torch.tensor([[0.6, 0.3, 0.1]]).log()
    for epsilon, left in ((0.0, 3), (0.2, 2), (0.9, 1)):
        made = Sketch(SketchConfig(epsilon=epsilon))
        assert int(made.scores(logits, logits.isnan()).isfinite().sum()) == left


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    assert main(["train", "decoding=sketch", *small, f"run={tmp_path / 'run'}"]) == 0
