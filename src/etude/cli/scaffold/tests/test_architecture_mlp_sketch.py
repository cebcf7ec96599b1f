from pathlib import Path

import torch
import torch.nn.functional as F

from etude.cli.main import main
from etude.network.parts import Parts
from etude.plugins.architecture.mlp.sketch import SketchConfig, sketch


def test_it_is_two_linear_layers_of_the_configured_width_with_silu() -> None:
    mlp = sketch(SketchConfig(ratio=3.0), Parts(8, 2))
    x = torch.randn(2, 5, 8)
    assert mlp.up.out_features == 24
    torch.testing.assert_close(mlp(x), mlp.down(F.silu(mlp.up(x))))


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    assert main(["train", "architecture/mlp=sketch", *small, f"run={tmp_path / 'run'}"]) == 0
