from pathlib import Path

import torch

from etude.cli.main import main
from etude.network.parts import Parts
from etude.plugins.architecture.norm.sketch import Sketch, SketchConfig


def test_it_is_invariant_to_the_scale_of_the_input() -> None:
    norm = Sketch(SketchConfig(eps=1e-12), Parts(8, 2)).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(norm(7 * x), norm(x))
    torch.testing.assert_close(norm(x).abs().mean(-1), torch.ones(2, 5, dtype=torch.float64))


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    assert main(["train", "architecture/norm=sketch", *small, f"run={tmp_path / 'run'}"]) == 0
