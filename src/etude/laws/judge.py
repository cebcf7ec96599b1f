"""Laws of judges: a probability for each pair, independent of order and of other pairs."""

import math
from collections.abc import Sequence

from etude.config.registry import build
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, holds
from etude.rl.judge import Comparison, Judge
from etude.rl.rewards import rewards_of

PAIRS = tuple(
    Comparison("What is 2+2?", first, second, "4")
    for first, second in (("4", "5"), ("four", "4"), ("2+2=4, so 4", "4"), ("", "22"))
)
ROUNDING = 1e-6


def every_pair_gets_a_probability(trial: Trial) -> Finding:
    """There is one verdict per pair: a probability from 0 to 1, or NaN for no verdict."""
    said = _verdicts(_made(trial), PAIRS)
    right = len(said) == len(PAIRS) and all(math.isnan(p) or 0 <= p <= 1 for p in said)
    return holds(right, f"{_shown(said)} for {len(PAIRS)} pairs")


def the_other_order_is_the_other_verdict(trial: Trial) -> Finding:
    """The preferred answer stays the same when the two are swapped."""
    made = _made(trial)
    there = _verdicts(made, PAIRS)
    back = [1 - p for p in _verdicts(made, [pair.swapped for pair in PAIRS])]
    return holds(_same(there, back), f"{_shown(there)} and, changed back, {_shown(back)}")


def what_is_equal_is_a_tie(trial: Trial) -> Finding:
    """An answer is not preferred to itself."""
    said = _verdicts(_made(trial), [Comparison(p.prompt, p.first, p.first, "4") for p in PAIRS])
    return holds(all(math.isnan(p) or abs(p - 0.5) <= ROUNDING for p in said), _shown(said))


def neighbours_change_no_verdict(trial: Trial) -> Finding:
    """A pair alone has the same verdict as among others."""
    made = _made(trial)
    together = _verdicts(made, PAIRS)
    alone = [_verdicts(made, [pair])[0] for pair in PAIRS]
    if not _same(together, alone):
        return broken(f"{_shown(together)} at once and {_shown(alone)} one by one")
    return held(f"{len(PAIRS)} pairs at once and one by one")


def _made(trial: Trial) -> Judge:
    scores = [rewards_of(trial.config.reward)] if trial.config.reward else []
    return build(trial.tried, *scores)


def _verdicts(made: Judge, pairs: Sequence[Comparison]) -> list[float]:
    return [float(p) for p in made(pairs)]


def _same(one: Sequence[float], two: Sequence[float]) -> bool:
    both = zip(one, two, strict=True)
    return all(abs(a - b) <= ROUNDING or (math.isnan(a) and math.isnan(b)) for a, b in both)


def _shown(said: Sequence[float]) -> str:
    return " ".join(f"{p:.3g}" for p in said)
