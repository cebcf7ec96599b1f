import pytest
import tiny

from etude.config.registry import build


def test_the_golden_values_of_dapo() -> None:
    reward = build(tiny.part("reward", "overlong", limit=100, margin=20))
    completions = ["a" * n for n in (0, 80, 90, 100, 101)]
    assert reward(["?"] * 5, completions, [None] * 5) == [0.0, 0.0, -0.5, -1.0, -1.0]


@pytest.mark.parametrize("margin", [0, 100])
def test_a_margin_must_be_between_0_and_the_limit(margin: int) -> None:
    with pytest.raises(ValueError, match="margin must be above 0 and below limit"):
        tiny.part("reward", "overlong", limit=100, margin=margin)
