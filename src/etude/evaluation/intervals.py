"""Confidence intervals of metrics, and tests of the difference between two paired results.

Shares: Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953. Other metrics: the percentile
bootstrap over items, Efron 1979, https://doi.org/10.1214/aos/1176344552.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from etude.evaluation.item import Metric, rounded

LEVEL = 0.95
N_RESAMPLES = 2000
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
Values = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Interval:
    """Bounds at LEVEL, and the method: Wilson or bootstrap."""

    low: float
    high: float
    method: str


def interval(metric: Metric, values: Values) -> Interval:
    """Returns the confidence interval of a metric over items; NaN without items."""
    if not values:
        return Interval(math.nan, math.nan, "none")
    if metric.over is None and all(one[metric.total] in (0, 1) for one in values):
        low, high = wilson(sum(one[metric.total] for one in values), len(values))
        low, high = sorted((low * metric.scale, high * metric.scale))
        return Interval(rounded(low), rounded(high), "Wilson")
    resampled = of_sums(metric, resampled_sums([sums_of(metric, values)])[0])
    low, high = np.nanquantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(rounded(float(low)), rounded(float(high)), "bootstrap")


def wilson(n_right: float, n: int) -> tuple[float, float]:
    """Returns the Wilson score interval of a share."""
    share = n_right / n
    middle = share + Z**2 / (2 * n)
    half = Z * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return tuple(min(1.0, max(0.0, x / (1 + Z**2 / n))) for x in (middle - half, middle + half))  # type: ignore[return-value]


def sums_of(metric: Metric, values: Values) -> Float[np.ndarray, "item 2"]:
    """Returns the numerator and the denominator of each item."""
    over = [1.0 if metric.over is None else one[metric.over] for one in values]
    return np.array([[one[metric.total] for one in values], over]).T


def of_sums(metric: Metric, sums: Float[np.ndarray, "... 2"]) -> Float[np.ndarray, "..."]:
    """Returns the metric of summed numerators and denominators."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = metric.scale * sums[..., 0] / sums[..., 1]
    return np.exp(np.minimum(ratio, 700.0)) if metric.exponential else ratio


def resampled_sums(
    results: Sequence[Float[np.ndarray, "item 2"]],
) -> list[Float[np.ndarray, "resample 2"]]:
    """Returns the sums over N_RESAMPLES samples with replacement, the same ones of each result."""
    generator = np.random.default_rng(0)
    n = len(results[0])
    found: list[list[np.ndarray]] = [[] for _ in results]
    for _ in range(N_RESAMPLES):
        counts = np.bincount(generator.integers(0, n, n), minlength=n)
        for sums, one in zip(found, results, strict=True):
            sums.append(counts @ one)
    return [np.stack(sums) for sums in found]
