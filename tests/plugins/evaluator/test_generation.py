"""Completions are read by the scorer; an unanswered question is neither right nor wrong."""

from dataclasses import replace

import evaluations
import tiny

from etude.config.registry import build
from etude.evaluation.item import Outcome
from etude.records import Prompt

QUESTIONS = [Prompt("1+1="), Prompt("What is 2+2?"), Prompt("今天？")]


def test_an_answer_is_right_if_it_is_what_the_model_writes() -> None:
    made = evaluations.evaluator("generation")
    unknown = evaluations.items(made, QUESTIONS)
    assert {item.outcome for item in unknown} <= {Outcome.WRONG, Outcome.UNANSWERED}
    for question, item in zip(QUESTIONS, unknown, strict=True):
        (written,) = item.shown["completions"]
        (again,) = evaluations.items(made, [replace(question, answer=written)])
        assert again.outcome is (Outcome.RIGHT if written else Outcome.UNANSWERED)
        assert again.shown["prompt"].endswith(question.prompt)


def test_an_answer_without_the_pattern_is_unanswered_and_the_shares_add_up_to_one() -> None:
    scorer = build(tiny.part("scorer", "exact", pattern="never this"))
    made = evaluations.evaluator("generation", evaluations.context(scorer=scorer))
    found = evaluations.metrics(made, QUESTIONS)
    assert found == {"accuracy": 0.0, "wrong": 0.0, "unanswered": 1.0}


def test_completions_depend_on_the_seed_and_the_question_alone() -> None:
    def written(seed: int, questions: list[Prompt]) -> list[str]:
        decoding = tiny.decoding("sample", temperature=2.0)
        given = evaluations.context(decoding=decoding, seed=seed)
        found = evaluations.items(evaluations.evaluator("generation", given), questions)
        return [item.shown["completions"] for item in found]

    first = written(0, QUESTIONS)
    assert written(0, QUESTIONS[::-1]) == first[::-1]
    assert written(0, QUESTIONS[1:2]) == first[1:2]
    assert written(1, QUESTIONS) != first
