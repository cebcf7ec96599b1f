import pytest
import tiny

from etude.config.registry import build


def test_the_penalty_is_the_distance_as_a_fraction_of_the_target_and_at_most_1() -> None:
    reward = build(tiny.part("reward", "length", target=8))
    completions = ["a" * n for n in (0, 4, 6, 8, 12, 16, 99)]
    wanted = [-1.0, -0.5, -0.25, 0.0, -0.5, -1.0, -1.0]
    assert reward(["?"] * 7, completions, [None] * 7) == wanted
    with pytest.raises(ValueError, match="target must be at least 1"):
        tiny.part("reward", "length", target=0)
