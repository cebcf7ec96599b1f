from pathlib import Path
from typing import Any

import torch

from etude.cli.main import main
from etude.network import History
from etude.plugins.decoding.sketch import Sketch, SketchConfig


def test_tokens_below_the_threshold_are_excluded_except_the_most_likely() -> None:
    logits = torch.tensor([[0.6, 0.3, 0.1]]).log()
    history = History(torch.tensor([[0]]), [None])
    tokenizer: Any = None  # it does not need one
    for epsilon, left in ((0.0, 3), (0.2, 2), (0.9, 1)):
        decoding = Sketch(SketchConfig(epsilon=epsilon), tokenizer)
        assert int(decoding.scores(logits, history).isfinite().sum()) == left


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    assert main(["train", "decoding=sketch", *small, f"run={tmp_path / 'run'}"]) == 0
