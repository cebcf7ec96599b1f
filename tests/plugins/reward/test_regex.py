import pytest
import tiny

from etude.config.registry import build


def test_pays_where_the_pattern_is_found_over_lines_too() -> None:
    reward = build(tiny.part("reward", "regex", pattern="^a.*b$"))
    assert reward(["?"] * 3, ["a\nb", "ab", "xab"], [None] * 3) == [1.0, 1.0, 0.0]


def test_a_pattern_that_python_cannot_read_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pattern=\( is not a regular expression: missing \)"):
        tiny.part("reward", "regex", pattern="(")
