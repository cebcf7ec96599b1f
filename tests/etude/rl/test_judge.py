import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from etude.config.schema.judge import QUESTION
from etude.rl.judge import AnswerCache, Comparison, check_question, in_both_orders

PAIR = Comparison("?", "{first}", "b", "ref")


def test_both_orders_are_averaged_and_a_missing_verdict_stays_missing() -> None:
    table = {"{first}": 0.9, "b": 0.3, "x": math.nan}

    def ask(comparisons: Sequence[Comparison]) -> list[float]:
        return [table[comparison.first] for comparison in comparisons]

    found = in_both_orders(ask, [PAIR, PAIR.in_other_order, Comparison("?", "b", "x")])
    assert found[:2] == pytest.approx([0.8, 0.2])
    assert math.isnan(found[2])
    assert in_both_orders(lambda pairs: [1.0] * len(pairs), [PAIR]) == [0.5]


def test_an_answer_that_looks_like_a_field_of_the_question_is_inserted_verbatim() -> None:
    assert PAIR.format_question("{prompt} {first} {second}") == "? {first} b"
    assert PAIR.in_other_order.in_other_order == PAIR
    check_question(QUESTION)
    for question in ("{first} {second}", "{prompt} {prompt}", "{prompt}{first}{second}{", "{0}"):
        with pytest.raises(ValueError, match="question must"):
            check_question(question)


def test_cached_answers_are_found_by_the_request_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETUDE_CACHE", str(tmp_path))
    AnswerCache().put(["url", {"a": 1, "b": 2}], "A")
    assert AnswerCache().get(["url", {"b": 2, "a": 1}]) == "A"
    assert AnswerCache().get(["url", {"a": 1, "b": 3}]) is None
