"""Equality of the last numbers."""

from typing import Any

import pytest
import tiny

from etude.config.registry import build
from etude.evaluation.item import Outcome


def outcome(completion: str, reference: str, **knobs: Any) -> Outcome:
    scorer = build(tiny.part("scorer", "numeric", **knobs))
    return scorer.outcome(scorer.extract(completion), reference)


def test_the_last_number_counts_and_none_is_unanswered() -> None:
    assert outcome("3 + 4 = 7", "7") is Outcome.RIGHT
    assert outcome("答案是 7。", "7.0") is Outcome.RIGHT
    assert outcome("7, then 8", "7") is Outcome.WRONG
    assert outcome("seven", "7") is Outcome.UNANSWERED


def test_long_numbers_are_not_rounded() -> None:
    assert outcome("12345678901234567891", "12345678901234567890") is Outcome.WRONG


def test_differences_within_the_tolerance_are_right() -> None:
    assert outcome("3.1", "3", tolerance=0.5) is Outcome.RIGHT
    assert outcome("3.6", "3", tolerance=0.5) is Outcome.WRONG


def test_a_negative_tolerance_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        tiny.part("scorer", "numeric", tolerance=-1.0)
