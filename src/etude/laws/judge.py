"""Laws of judges: a probability for each pair, independent of order and of other pairs."""

import math
from collections.abc import Sequence

from etude.config.registry import build
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, holds
from etude.rl.judge import Comparison, Judge
from etude.rl.rewards import build_rewards

PAIRS = tuple(
    Comparison("What is 2+2?", first, second, "4")
    for first, second in (("4", "5"), ("four", "4"), ("2+2=4, so 4", "4"), ("", "22"))
)
ROUNDING = 1e-6


def every_pair_gets_a_probability(trial: Trial) -> Finding:
    """There is one verdict per pair: a probability from 0 to 1, or NaN for no verdict."""
    verdicts = _verdicts(_build(trial), PAIRS)
    right = len(verdicts) == len(PAIRS) and all(math.isnan(p) or 0 <= p <= 1 for p in verdicts)
    return holds(right, f"{_format(verdicts)} for {len(PAIRS)} pairs")


def swapping_the_answers_flips_the_verdict(trial: Trial) -> Finding:
    """The preferred answer stays the same when the two are swapped."""
    judge = _build(trial)
    before = _verdicts(judge, PAIRS)
    swapped = [1 - p for p in _verdicts(judge, [pair.in_other_order for pair in PAIRS])]
    return holds(_same(before, swapped), f"{_format(before)}; swapped: {_format(swapped)}")


def equal_answers_tie(trial: Trial) -> Finding:
    """An answer is not preferred to itself."""
    found = _verdicts(_build(trial), [Comparison(p.prompt, p.first, p.first, "4") for p in PAIRS])
    return holds(all(math.isnan(p) or abs(p - 0.5) <= ROUNDING for p in found), _format(found))


def verdicts_do_not_depend_on_the_batch(trial: Trial) -> Finding:
    """A pair alone has the same verdict as among others."""
    judge = _build(trial)
    together = _verdicts(judge, PAIRS)
    alone = [_verdicts(judge, [pair])[0] for pair in PAIRS]
    if not _same(together, alone):
        return broken(f"{_format(together)} in a batch and {_format(alone)} one by one")
    return held(f"{len(PAIRS)} pairs in a batch and one by one")


def _build(trial: Trial) -> Judge:
    scores = [build_rewards(trial.config.reward)] if trial.config.reward else []
    return build(trial.tested, *scores)


def _verdicts(judge: Judge, pairs: Sequence[Comparison]) -> list[float]:
    return [float(p) for p in judge(pairs)]


def _same(one: Sequence[float], two: Sequence[float]) -> bool:
    both = zip(one, two, strict=True)
    return all(abs(a - b) <= ROUNDING or (math.isnan(a) and math.isnan(b)) for a, b in both)


def _format(verdicts: Sequence[float]) -> str:
    return " ".join(f"{p:.3g}" for p in verdicts)
