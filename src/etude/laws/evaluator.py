"""Laws of evaluators: an item for each case, to the bit, whatever is evaluated with it."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from etude.config.composition import compose
from etude.config.config_file import build_config
from etude.config.registry import build
from etude.config.schema.evaluation import EvaluationConfig, Split
from etude.evaluation.evaluate import AnyEvaluator, Evaluation, context_of, converted
from etude.evaluation.item import Case, Item
from etude.evaluation.subject import Subject
from etude.formats.model import read_model
from etude.laws.fitting import VERBS
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, holds

GROUP = "evaluator"
N_CASES = 7
N_NEW_TOKENS = 8
BATCH_SIZES = (1, 3, N_CASES)


def every_case_gets_an_item_with_its_values(trial: Trial) -> Finding:
    """There is one item for each case, in order, with each value that a metric sums."""
    evaluator, cases = _built(trial, N_CASES)
    items = evaluator.evaluate(cases)
    if [item.id for item in items] != [case.id for case in cases]:
        return broken(f"{len(items)} items of {len(cases)} cases, or in another order")
    needed = {name for metric in evaluator.metrics for name in metric.needs}
    for item in items:
        missing = sorted(needed - item.values.keys())
        if missing or not all(map(math.isfinite, item.values.values())):
            return broken(f"{dict(item.values)}; missing: {missing}")
    n_questions = len(list(evaluator.questions(cases)))
    return holds(n_questions == len(cases), f"{len(items)} items, {n_questions} questions")


def items_do_not_depend_on_the_batch_size(trial: Trial) -> Finding:
    """Any batch_size gives the same items, to the bit."""
    found: list[Sequence[Item]] = []
    for size in BATCH_SIZES:
        evaluator, cases = _built(trial, size)
        found.append(evaluator.evaluate(cases))
    n_other = sum(any(item != same[0] for item in same) for same in zip(*found, strict=True))
    return holds(n_other == 0, f"{n_other} items differ, batch_size {BATCH_SIZES}")


def items_do_not_depend_on_the_other_cases(trial: Trial) -> Finding:
    """A case alone has the same item as among others, in any order."""
    evaluator, cases = _built(trial, N_CASES)
    together = evaluator.evaluate(cases)
    backwards = evaluator.evaluate(cases[::-1])[::-1]
    for case, one, two in zip(cases, together, backwards, strict=True):
        (alone,) = evaluator.evaluate([case])
        if not one == two == alone:
            return broken(f"{one} among others, {two} in reverse order, {alone} alone")
    return held(f"{len(cases)} cases in two orders and one by one")


def _built(trial: Trial, batch_size: int) -> tuple[AnyEvaluator, Sequence[Case[Any]]]:
    """Returns the evaluator of a trained run, and cases of the experiment's data."""
    composed = compose(VERBS[GROUP], [f"run={trial.whole}"]).config
    config = replace(
        build_config(composed, EvaluationConfig),
        data=trial.config.data,
        evaluator={trial.plugin.address: trial.tested},
        split=Split.all,
        n_items=N_CASES,
        max_new_tokens=N_NEW_TOKENS,
        batch_size=batch_size,
    )
    model = read_model(trial.whole)
    cases = converted(Evaluation(config, "", model).cases, config.data, trial.tested)
    subject = Subject.open(model, batch_size, config.precision)
    return build(trial.tested, context_of(config, subject)), cases
