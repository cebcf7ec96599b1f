"""Compares two results item by item.

Shares: the exact test of McNemar 1947, https://doi.org/10.1007/BF02295996, and the interval of
Agresti & Min 2005, https://doi.org/10.1002/sim.1781. Other metrics: the paired bootstrap (Efron &
Tibshirani 1993; for language models, Koehn 2004, https://aclanthology.org/W04-3250). Both pair the
items by their ids, since a difference of two models varies much less than either of them (Miller
2024, https://arxiv.org/abs/2411.00640). Several comparisons: Holm 1979,
https://www.jstor.org/stable/4615733.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float

from etude.evaluation.intervals import LEVEL, Z, of_sums, resampled_sums, sums_of
from etude.evaluation.item import Item, Metric, Outcome, rounded
from etude.evaluation.result import Part, Result

POWER = 0.8
Z_POWER = NormalDist().inv_cdf(POWER)
IDENTITY = frozenset({"run", "model", "task"})
"""What may differ between two results without a note."""


@dataclass(frozen=True)
class Difference:
    """A metric of the second result minus that of the first, over the items of both."""

    metric: Metric
    first: float
    second: float
    low: float
    high: float
    p: float
    """Probability of a difference this large if there is none; two-sided."""
    detectable: float
    """The smallest true difference that a test at 5 % finds with a probability of 80 %."""
    method: str

    @property
    def value(self) -> float:
        """The difference."""
        return rounded(self.second - self.first)


@dataclass(frozen=True)
class Comparison:
    """One evaluator of one task in two results."""

    task: str
    evaluator: str
    n_items: int
    """Number of items that both results have."""
    n_unpaired: int
    """Items that only one of them has, which are left out."""
    differences: Sequence[Difference]
    left_out: Sequence[str]
    """Metrics that cannot be compared, and why."""
    settings: Sequence[str]
    """What was asked differently."""
    outcomes: Mapping[tuple[Outcome, Outcome], int] = field(
        default_factory=dict[tuple[Outcome, Outcome], int]
    )
    """Number of items by the outcome in the first and in the second result."""


def compare(task: str, first: Result, second: Result) -> list[Comparison]:
    """Compares each evaluator that both results have."""
    settings = _different_settings(first.asked, second.asked)
    same_tokenizer = first.asked["tokenizer"] == second.asked["tokenizer"]
    return [
        _compare_parts((task, name), part, second.parts[name], settings, same_tokenizer)
        for name, part in first.parts.items()
        if name in second.parts
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns the p-values adjusted for the number of tests, in the given order."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def _compare_parts(
    names: tuple[str, str], first: Part, second: Part, settings: Sequence[str], same: bool
) -> Comparison:
    ours = {item.id: item for item in first.items}
    theirs = {item.id: item for item in second.items}
    pairs = [(ours[i], theirs[i]) for i in sorted(ours.keys() & theirs.keys())]
    known = {metric.name: metric for metric in second.metrics}
    shared = [metric for metric in first.metrics if known.get(metric.name) == metric]
    compared = [metric for metric in shared if same or not metric.needs_same_tokenizer]
    left_out = [
        f"{metric.name}: the tokenizers differ, so its unit does; compare bits_per_byte"
        for metric in shared
        if metric not in compared
    ]
    outcomes: dict[tuple[Outcome, Outcome], int] = {}
    for one, two in pairs:
        if one.outcome and two.outcome:
            key = one.outcome, two.outcome
            outcomes[key] = outcomes.get(key, 0) + 1
    return Comparison(
        *names,
        len(pairs),
        len(ours) + len(theirs) - 2 * len(pairs),
        [difference(metric, pairs) for metric in compared] if pairs else [],
        left_out,
        settings,
        outcomes,
    )


def difference(metric: Metric, pairs: Sequence[tuple[Item, Item]]) -> Difference:
    """Returns the difference of a metric over paired items, at least one."""
    sides = [[pair[side].values for pair in pairs] for side in (0, 1)]
    first, second = (rounded(metric.of(side)) for side in sides)
    is_share = metric.over is None and metric.scale == 1 and not metric.exponential
    if is_share and all(one[metric.total] in (0, 1) for side in sides for one in side):
        before, after = ([one[metric.total] for one in side] for side in sides)
        test, method = _test_shares(before, after), "McNemar, Agresti-Min"
    else:
        sums = resampled_sums([sums_of(metric, side) for side in sides])
        test = _test_resampled(of_sums(metric, sums[1]) - of_sums(metric, sums[0]))
        method = "paired bootstrap"
    low, high, p, detectable = (rounded(x) for x in test)
    return Difference(metric, first, second, low, high, p, detectable, method)


Test: TypeAlias = tuple[float, float, float, float]
"""Bounds of the interval, p-value, detectable difference."""


def _test_resampled(differences: Float[np.ndarray, " resample"]) -> Test:
    low, high = np.nanquantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    tail = min(np.mean(differences <= 0), np.mean(differences >= 0))
    p = min(1.0, 2 * max(float(tail), 1 / len(differences)))
    return float(low), float(high), p, (Z + Z_POWER) * float(np.nanstd(differences))


def _test_shares(before: Sequence[float], after: Sequence[float]) -> Test:
    n = len(before)
    gained = sum(b > a for a, b in zip(before, after, strict=True))
    lost = sum(a > b for a, b in zip(before, after, strict=True))
    tail = sum(math.comb(gained + lost, k) for k in range(min(gained, lost) + 1))
    p = min(1.0, 2 * tail / 2 ** (gained + lost))
    middle = (gained - lost) / (n + 2)
    error = math.sqrt(gained + lost + 1 - (gained - lost) ** 2 / (n + 2)) / (n + 2)
    low, high = max(-1.0, middle - Z * error), min(1.0, middle + Z * error)
    return low, high, p, (Z + Z_POWER) * error


def _different_settings(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Returns the settings that differ, as `key: first / second`."""
    one, two = (dict(_leaves(asked)) for asked in (first, second))
    keys = [key for key in sorted(one.keys() | two.keys()) if one.get(key) != two.get(key)]
    differing = [key for key in keys if key not in IDENTITY]
    return [f"{key}: {_short(one.get(key))} / {_short(two.get(key))}" for key in differing]


def _short(value: Any) -> str:
    """A value, of a digest the beginning."""
    return "-" if value is None else re.sub("^([0-9a-f]{12})[0-9a-f]{52}$", r"\1", str(value))


def _leaves(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += _leaves(value, f"{prefix}{key}.")  # type: ignore[arg-type] # JSON
        else:
            found.append((f"{prefix}{key}", value))
    return found
