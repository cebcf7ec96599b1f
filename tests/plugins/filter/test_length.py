import pytest
import tiny

from etude.config.registry import build
from etude.data.filter import Drop
from etude.records import Pair, Text


def test_records_outside_the_bounds_are_dropped() -> None:
    made = build(tiny.part("filter", "length", min_chars=3, max_chars=5))
    assert made.decide(Text(" ab \n")) == Drop("too short", 2, 3)
    assert made.decide(Text("你好吗")) is None
    assert made.decide(Text("abcdef")) == Drop("too long", 6, 5)
    assert made.decide(Pair("a", "b")) is None  # with the empty line between them


def test_bounds_are_in_order() -> None:
    with pytest.raises(ValueError, match="max_chars must be at least min_chars=200, got 100"):
        tiny.part("filter", "length", max_chars=100)
