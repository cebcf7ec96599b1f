import math

import pytest
import tiny
import torch

from etude.config.registry import build
from etude.network.parts import Parts


def test_adds_sines_and_cosines_of_growing_wavelengths() -> None:
    config = tiny.part("architecture/position", "sinusoidal", theta=50.0, scale=0.5)
    made, x = build(config, Parts(6, 2)), torch.zeros(1, 1, 6)
    found = made.embed(x, torch.tensor([[7]]))[0, 0].tolist()
    for i in range(3):
        angle = 7 / 50 ** (2 * i / 6)
        assert found[2 * i] == pytest.approx(0.5 * math.sin(angle), abs=1e-6)
        assert found[2 * i + 1] == pytest.approx(0.5 * math.cos(angle), abs=1e-6)


def test_needs_an_even_width() -> None:
    with pytest.raises(ValueError, match="sinusoidal positions need an even dim, got 9"):
        build(tiny.part("architecture/position", "sinusoidal"), Parts(9, 3))
