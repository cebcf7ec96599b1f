"""Laws of rewards: one score per answer, independent of the batch; verifiers judge correctly."""

import math

from etude.config.registry import build
from etude.errors import DataError
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, holds, not_applicable
from etude.objective.reward import Reward
from etude.rl.verifier import Verifier, result_line, run_bench

ANSWERS = ("4", "The answer is 4.", "", "5", "four", "4\n", "<think>2+2</think>4")
PROMPT = "What is 2+2?"
REFERENCE = "4"


def its_bench_is_scored_correctly(trial: Trial) -> Finding:
    """A verifier gives the full reward to correct answers only."""
    made = build(trial.tested)
    if not isinstance(made, Verifier):
        return not_applicable("it is not a verifier, so it has no bench")
    report = run_bench(made)
    rates = (
        f"{len(report.results)} answers, {report.false_positives:.0%} false positives, "
        f"{report.false_negatives:.0%} false negatives"
    )
    bench = [
        f"{'MISJUDGED ' if one.is_misjudged else ''}{result_line(one)}" for one in report.results
    ]
    return holds(not report.misjudged_results, "\n      ".join((rates, *bench)))


def every_answer_gets_one_score(trial: Trial) -> Finding:
    """There is one score per answer: a number, or NaN for no verdict."""
    scores = _scores(build(trial.tested), ANSWERS)
    if scores is None:
        return not_applicable("it cannot read the test answers")
    right = len(scores) == len(ANSWERS) and not any(map(math.isinf, scores))
    return holds(right, f"{len(scores)} scores of {len(ANSWERS)} answers")


def scores_do_not_depend_on_the_batch(trial: Trial) -> Finding:
    """An answer alone has the same score as among others."""
    made = build(trial.tested)
    together = _scores(made, ANSWERS)
    if together is None:
        return not_applicable("it cannot read the test answers")
    for answer, score in zip(ANSWERS, together, strict=False):
        alone = _scores(made, [answer])
        if alone is not None and not _same(alone[0], score):
            return broken(f"{answer!r} gets {score:g} in a batch and {alone[0]:g} alone")
    return held(f"{len(ANSWERS)} answers in a batch and one by one")


def _scores(made: Reward, answers: tuple[str, ...] | list[str]) -> list[float] | None:
    n = len(answers)
    try:
        return list(made([PROMPT] * n, list(answers), [REFERENCE] * n))
    except DataError:
        return None


def _same(one: float, two: float) -> bool:
    """Whether two scores are equal, up to the rounding of a network in 32 bits."""
    return math.isclose(one, two, rel_tol=1e-4, abs_tol=1e-6) or (one != one and two != two)
