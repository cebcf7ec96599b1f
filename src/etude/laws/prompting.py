"""Laws of prompting: a prompt shows its question, never its answer, whatever the other cases."""

from collections.abc import Sequence
from typing import Any

from etude.config.registry import build
from etude.evaluation.item import Case, cases_of
from etude.evaluation.prompting import Examples, Prompting
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, holds
from etude.records import Prompt

N_CASES = 40
ANSWERS = ("4", "5", "4")


def _cases() -> list[Case[Any]]:
    """Cases whose questions and answers are in no other."""
    records = [Prompt(f"Question {i:03}?", f"Answer {i:03}.") for i in range(N_CASES)]
    return cases_of(records)


def _built(trial: Trial, examples: Sequence[Case[Any]]) -> Prompting[Any]:
    return build(trial.tested, Examples(examples, 0))


def every_prompt_contains_its_question(trial: Trial) -> Finding:
    """The text of the question is in the prompt, once."""
    made = _built(trial, _cases())
    for case in _cases():
        n = str(made.prompt(case)).count(case.record.prompt)
        if n != 1:
            return broken(f"{case.record.prompt!r} is in its prompt {n} times")
    return held(f"{N_CASES} prompts")


def no_prompt_contains_its_own_answer(trial: Trial) -> Finding:
    """The answer of a question is not in its prompt, even if the question is an example, too."""
    made = _built(trial, _cases())
    bad = [case for case in _cases() if case.record.answer in str(made.prompt(case))]
    return holds(not bad, f"{len(bad)} of {N_CASES} prompts contain their answer")


def prompts_do_not_depend_on_the_order_of_examples(trial: Trial) -> Finding:
    """The order of the data, and the prompts written before, change no prompt."""
    cases = _cases()
    first, second = _built(trial, cases), _built(trial, cases[::-1])
    one = [first.prompt(case) for case in cases]
    two = [second.prompt(case) for case in cases[::-1]][::-1]
    n_other = sum(a != b for a, b in zip(one, two, strict=True))
    return holds(n_other == 0, f"{n_other} of {N_CASES} prompts differ")


def it_chooses_one_of_the_answers(trial: Trial) -> Finding:
    """The answer is one of those of the completions, and there is none if none has one."""
    made = _built(trial, _cases())
    n = made.n_samples
    answers = [ANSWERS[i % len(ANSWERS)] for i in range(n)]
    log_probs = [-1.0] * n
    chosen, nothing = made.choose(answers, log_probs), made.choose([None] * n, log_probs)
    return holds(chosen in answers and nothing is None, f"{chosen!r} of {answers}; {nothing!r}")
