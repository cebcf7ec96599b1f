from pathlib import Path

import pytest
import torch

from etude.cli.main import main
from etude.network.context import Context, Position
from etude.network.parts import Parts
from etude.plugins.architecture.mixer.sketch import Sketch, SketchConfig


def mix(temperature: float, x: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(0)
    mixer = Sketch(SketchConfig(temperature=temperature), Parts(8, 2))
    positions = torch.arange(x.shape[1])[None]
    return mixer(x, Context(Position(), positions, positions, causal=True))


def test_a_token_does_not_see_later_tokens() -> None:
    x = torch.randn(2, 6, 8)
    other = torch.cat((x[:, :4], torch.randn(2, 2, 8)), dim=1)
    torch.testing.assert_close(mix(1.0, x)[:, :4], mix(1.0, other)[:, :4])


def test_the_temperature_changes_the_output_and_must_be_positive() -> None:
    x = torch.randn(2, 6, 8)
    assert not torch.allclose(mix(1.0, x), mix(0.1, x))
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        SketchConfig(temperature=0.0)


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    assert main(["train", "architecture/mixer=sketch", *small, f"run={tmp_path / 'run'}"]) == 0
