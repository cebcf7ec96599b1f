import time

import pytest
import tiny

from etude.config.registry import build


def test_rewards_a_match_of_the_pattern_across_lines_too() -> None:
    reward = build(tiny.part("reward", "regex", pattern="^a.*b$"))
    assert reward(["?"] * 3, ["a\nb", "ab", "xab"], [None] * 3) == [1.0, 1.0, 0.0]


def test_an_invalid_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pattern=\( is not a regular expression: missing \)"):
        tiny.part("reward", "regex", pattern="(")


def test_a_search_that_takes_too_long_is_no_match() -> None:
    reward = build(tiny.part("reward", "regex", pattern="(a+)+b", timeout_s=0.2))
    start = time.monotonic()
    assert reward(["?"] * 3, ["aab", "a" * 60, "ab"], [None] * 3) == [1.0, 0.0, 1.0]
    assert time.monotonic() - start < 2
    with pytest.raises(ValueError, match="timeout_s must be above 0, got 0"):
        tiny.part("reward", "regex", pattern="a", timeout_s=0.0)
