from pathlib import Path

import torch
from torch import nn

from etude.cli.main import main
from etude.network.parts import HeadParts
from etude.plugins.architecture.head.sketch import Sketch, SketchConfig


def test_it_is_invariant_to_the_scale_of_the_states() -> None:
    head = Sketch(SketchConfig(), HeadParts(8, 4, 11, nn.Identity))
    states = torch.randn(2, 5, 8)
    torch.testing.assert_close(head(3 * states), head(states))
    assert head(states).shape == (2, 5, 11)


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    assert main(["train", "architecture/head=sketch", *small, f"run={tmp_path / 'run'}"]) == 0
