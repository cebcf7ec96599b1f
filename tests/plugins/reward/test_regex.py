import pytest
import tiny

from etude.config.registry import build


def test_rewards_a_match_of_the_pattern_across_lines_too() -> None:
    reward = build(tiny.part("reward", "regex", pattern="^a.*b$"))
    assert reward(["?"] * 3, ["a\nb", "ab", "xab"], [None] * 3) == [1.0, 1.0, 0.0]


def test_an_invalid_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pattern=\( is not a regular expression: missing \)"):
        tiny.part("reward", "regex", pattern="(")
