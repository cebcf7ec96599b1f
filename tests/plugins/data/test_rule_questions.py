from itertools import islice
from random import Random

import pytest

from etude.config.registry import build
from etude.plugins.data._rules import Rule, answer, questions
from etude.plugins.data.rule_questions import RuleQuestionsConfig


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [("first", "4"), ("last", "1"), ("largest", "8"), ("reverse", "1284"), ("sort", "1248")],
)
def test_the_answer_follows_the_rule(rule: str, wanted: str) -> None:
    assert answer(Rule[rule], "4821") == wanted


def test_the_digits_of_a_question_do_not_depend_on_the_rule() -> None:
    first, second = (
        [one.prompt for one in islice(questions(rule, 6, Random(3)), 20)]
        for rule in (Rule.first, Rule.sort)
    )
    assert first == second
    assert all(len(prompt) == 7 and prompt[:6].isdigit() for prompt in map(str, first))


def test_each_question_occurs_once_even_if_all_are_asked() -> None:
    records = list(build(RuleQuestionsConfig(size=2, n_problems=100)).records())
    assert {one.prompt for one in records} == {f"{i:02}:" for i in range(100)}
    assert len(records) == 100
    assert all(one.answer == one.prompt[1::-1] for one in records)


@pytest.mark.parametrize("values", [{"size": 0}, {"size": 13}, {"n_problems": 1}])
def test_invalid_values_are_rejected_by_key_and_value(values: dict[str, int]) -> None:
    (name,) = values
    with pytest.raises(ValueError, match=f"{name} must be .* got {values[name]}"):
        RuleQuestionsConfig(**values)
