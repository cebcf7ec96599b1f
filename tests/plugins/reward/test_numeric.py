import math
from decimal import Decimal

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from etude.config.registry import build
from etude.rl.numbers import last_number

WRITTEN = {
    "10-3": 3, "10 - 3": 3, "x=-3": -3, "= -42": -42, "(-3)": -3, ")-3": 3, "\u22125": -5,
    "$42": 42, "42.": 42, "5%": 5, "3/4": 4, "2024-05-17": 17, "第42": 42, "42,43": 43,
    "1,234": 1234, "1,2345": 2345, "12,34": 34, "1.5e-3": 0.0015, "1,234.5": 1234.5,
    "a5": None, "5a": None, "1e9999": None, "42.0.1": None, "٤٢": None, "": None, "inf": None,
}  # fmt: skip


@given(st.integers(-(10**30), 10**30), st.sampled_from(["{}", "so {}.", "7, then {}!", "= {} km"]))
def test_finds_any_number_however_long_in_free_text(number: int, text: str) -> None:
    assert last_number(text.format(number)) == number
    assert last_number(text.format(f"{number:,}")) == number


def test_the_last_number_is_parsed_as_people_read_it() -> None:
    wanted = {text: None if n is None else Decimal(str(n)) for text, n in WRITTEN.items()}
    assert {text: last_number(text) for text in WRITTEN} == wanted


def test_the_tolerance_is_inclusive_and_a_reference_without_a_number_gives_no_verdict(
) -> None:  # fmt: skip
    exact, near = (build(tiny.part("reward", "numeric", tolerance=t)) for t in (0.0, 0.5))
    arguments = ["?"] * 3, ["42.5", "42", "41.4"], ["42", "42.0", "42"]
    assert exact(*arguments) == [0.0, 1.0, 0.0]
    assert near(*arguments) == [1.0, 1.0, 0.0]
    assert math.isnan(exact(["?"], ["42"], ["forty-two"])[0])
    with pytest.raises(ValueError, match="tolerance must be 0 or more"):
        tiny.part("reward", "numeric", tolerance=-1.0)
