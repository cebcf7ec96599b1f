"""Equality of texts, after the answer is extracted."""

from typing import Any

import pytest
import tiny

from etude.config.registry import build
from etude.evaluation.item import Outcome


def outcome(completion: str, reference: str, **knobs: Any) -> Outcome:
    scorer = build(tiny.part("scorer", "exact", **knobs))
    return scorer.outcome(scorer.extract(completion), reference)


def test_white_space_does_not_count_and_case_does_unless_ignored() -> None:
    assert outcome(" New\n York ", "New York") is Outcome.RIGHT
    assert outcome("new york", "New York") is Outcome.WRONG
    assert outcome("new york", "New York", ignore_case=True) is Outcome.RIGHT
    assert outcome("今天 好", "今天 好") is Outcome.RIGHT
    assert outcome(" \n", "New York") is Outcome.UNANSWERED


def test_the_last_match_of_the_pattern_is_the_answer() -> None:
    assert outcome("Answer: 3. Answer: 4.", "4", pattern=r"Answer: (\d+)") is Outcome.RIGHT
    assert outcome("3, then 4", "4", pattern=r"\d") is Outcome.RIGHT
    assert outcome("four", "4", pattern=r"\d") is Outcome.UNANSWERED


def test_a_pattern_that_is_no_expression_is_refused() -> None:
    with pytest.raises(ValueError, match="pattern is not a regular expression"):
        tiny.part("scorer", "exact", pattern="(")
