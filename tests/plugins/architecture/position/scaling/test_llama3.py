import math
from typing import Any

import pytest
import scalings
import torch


@pytest.mark.parametrize(("head_dim", "theta"), scalings.SHAPES)
@pytest.mark.parametrize("trained", [16, 1024, 8192])
@pytest.mark.parametrize("slow_and_fast", [(1.0, 4.0), (2.0, 32.0)])
def test_agrees_with_transformers(
    head_dim: int, theta: float, trained: int, slow_and_fast: tuple[float, float]
) -> None:
    slow, fast = slow_and_fast
    wanted = scalings.theirs(
        "llama3",
        head_dim,
        theta,
        factor=8.0,
        original_max_position_embeddings=trained,
        low_freq_factor=slow,
        high_freq_factor=fast,
    )
    made = scalings.scaling("llama3", trained_positions=trained, beta_slow=slow, beta_fast=fast)
    scalings.assert_same(made, theta, wanted)


def test_the_ramp_is_linear_in_the_number_of_rotations() -> None:
    plain = scalings.scaling("none").frequencies(1e4, 128)
    made = scalings.scaling("llama3", factor=8.0, trained_positions=2048)
    share = made.frequencies(1e4, 128) / plain
    turns = 2048 * plain / (2 * math.pi)
    assert torch.equal(share[turns >= 4], torch.ones(int((turns >= 4).sum())).double())
    torch.testing.assert_close(share[turns <= 1], torch.full_like(share[turns <= 1], 1 / 8))
    between = (turns > 1) & (turns < 4)
    wanted = 1 / 8 + 7 / 8 * (turns[between] - 1) / 3
    torch.testing.assert_close(share[between], wanted)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"factor": 0.5}, "factor must be at least 1, got 0.5"),
        ({"trained_positions": 0}, "trained_positions must be at least 1, got 0"),
        ({"beta_slow": 5.0}, "below beta_fast, got 5.0 and 4.0"),
    ],
)
def test_values_out_of_range_are_errors(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scalings.scaling("llama3", **values)
