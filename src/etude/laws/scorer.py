"""Laws of scorers: answers with known verdicts are scored correctly, with every value."""

import math
from typing import Any

from etude.config.registry import build
from etude.evaluation.item import Outcome
from etude.evaluation.scorer import AnswerScorer
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, holds, not_applicable
from etude.rl.verifier import SHOWN, Kind

EXPECTED = {Kind.RIGHT: Outcome.RIGHT, Kind.MALFORMED: Outcome.UNANSWERED}
"""Outcomes by the kind of an answer of the bench; others must only not be right."""


def its_bench_is_scored_correctly(trial: Trial) -> Finding:
    """Right answers are right, malformed ones are unanswered, and no other answer is right."""
    scorer: AnswerScorer[Any] = build(trial.tested)
    n_answers = 0
    for bench in scorer.bench():
        for kind, completion in bench.cases():
            n_answers += 1
            outcome = scorer.outcome(scorer.extract(completion), bench.reference or "")
            expected = EXPECTED.get(kind)
            if outcome is Outcome.RIGHT if expected is None else outcome is not expected:
                return broken(f"{kind} answer {completion[:SHOWN]!r} is {outcome}")
    if not n_answers:
        return not_applicable("it has no bench with these knobs")
    return held(f"{n_answers} answers")


def every_answer_has_the_values_of_its_metrics(trial: Trial) -> Finding:
    """An answer, and a missing one, has each value that a metric sums: a finite number."""
    scorer: AnswerScorer[Any] = build(trial.tested)
    needed = {name for metric in scorer.metrics for name in metric.needs} - set(Outcome)
    for bench in scorer.bench():
        for _, completion in bench.cases():
            values = scorer.values(scorer.extract(completion) or "", bench.reference or "")
            missing = sorted(needed - values.keys())
            if missing or not all(map(math.isfinite, values.values())):
                return broken(f"{completion[:SHOWN]!r}: {dict(values)}; missing: {missing}")
    return holds(True, f"{len(needed)} values")
