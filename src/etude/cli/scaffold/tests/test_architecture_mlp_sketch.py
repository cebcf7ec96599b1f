from pathlib import Path

import torch
import torch.nn.functional as F

from etude.cli.main import main
from etude.network.parts import Parts
from etude.plugins.architecture.mlp.sketch import SketchConfig, sketch


def test_is_silu_between_two_maps_of_the_width_that_was_asked() -> None:
    made = sketch(SketchConfig(ratio=3.0), Parts(8, 2))
    x = torch.randn(2, 5, 8)
    assert made.up.out_features == 24
    torch.testing.assert_close(made(x), made.down(F.silu(made.up(x))))


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    assert main(["train", "architecture/mlp=sketch", *small, f"run={tmp_path / 'run'}"]) == 0
