import math
from typing import Any

import pytest
import scalings
import tiny
import torch

from etude.config.registry import build
from etude.network.context import Context
from etude.network.parts import Parts


@pytest.mark.parametrize(("head_dim", "theta"), scalings.SHAPES)
@pytest.mark.parametrize("trained", [16, 1024, 8192])
@pytest.mark.parametrize(
    "values", [{}, {"factor": 16.0}, {"beta_fast": 8.0, "beta_slow": 2.0, "attention_factor": 0.7}]
)
def test_agrees_with_transformers(
    head_dim: int, theta: float, trained: int, values: dict[str, float]
) -> None:
    given = {"factor": 4.0} | values
    wanted = scalings.theirs(
        "yarn", head_dim, theta, original_max_position_embeddings=trained, **given
    )
    made = scalings.scaling("yarn", trained_positions=trained, **given)
    scalings.assert_same(made, theta, wanted)


def test_fast_pairs_are_unchanged_and_slow_pairs_are_interpolated() -> None:
    plain = scalings.scaling("none").frequencies(1e4, 128)
    found = scalings.scaling("yarn", factor=8.0, trained_positions=2048).frequencies(1e4, 128)
    turns = 2048 * plain / (2 * math.pi)
    assert torch.equal(found[turns > 40], plain[turns > 40])
    torch.testing.assert_close(found[turns < 0.8], plain[turns < 0.8] / 8)
    between = (turns < 20) & (turns > 1.5)
    assert ((found < plain) & (found > plain / 8))[between].all()


def test_the_attention_factor_is_that_of_the_paper() -> None:
    scaling = tiny.part("architecture/position/scaling", "yarn", factor=16.0)
    rope = build(tiny.part("architecture/position", "rope", scaling=scaling), Parts(16, 2))
    x, positions = torch.randn(1, 2, 3, 8, dtype=torch.float64), torch.tensor([[0, 5, 11]])
    found = rope.rotate(x, Context(rope, positions, positions, causal=True))
    tiny.assert_close(found.norm(dim=-1), (0.1 * math.log(16) + 1) * x.norm(dim=-1))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"factor": 0.5}, "factor must be at least 1, got 0.5"),
        ({"trained_positions": 0}, "trained_positions must be at least 1, got 0"),
        ({"beta_slow": 40.0}, "below beta_fast, got 40.0 and 32.0"),
        ({"attention_factor": 0.0}, "attention_factor must be positive or null, got 0.0"),
    ],
)
def test_values_out_of_range_are_errors(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scalings.scaling("yarn", **values)
