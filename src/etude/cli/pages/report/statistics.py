"""Statistics of a report: smoothing, and confidence intervals by Student's t distribution."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean with the half-width of its confidence interval; None for a single value."""

    mean: float
    half: float | None
    n: int

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes zero."""
        return self.half is not None and abs(self.mean) > self.half

    def text(self) -> str:
        """Returns the mean, with the decimals of the interval's two significant digits."""
        if self.half is None:
            return f"{self.mean:.5g}"
        if self.half == 0:
            return f"{self.mean:.5g} ± 0"
        places = max(0, 1 - math.floor(math.log10(self.half)))
        return f"{self.mean:.{places}f} ± {self.half:.{places}f}"


def moving_average(values: Sequence[float | None], weight: float) -> list[float | None]:
    """Returns an exponential moving average with decay `weight` per step and bias correction.

    Kingma & Ba 2015, https://arxiv.org/abs/1412.6980, section 3: divided by the weight so far.
    A missing value stays missing and is not a step. Weight 0 returns the values unchanged.
    """
    total = 0.0
    seen = 0.0
    found: list[float | None] = []
    for value in values:
        if value is not None:
            total = weight * total + (1 - weight) * value
            seen = weight * seen + (1 - weight)
        found.append(None if value is None else total / seen)
    return found


def interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Returns the mean of independent values with its t interval. Raises ValueError if empty."""
    n = len(values)
    if n < 2:
        return Interval(fmean(values), None, n)
    error = stdev(values) / math.sqrt(n)
    return Interval(fmean(values), t_quantile((1 + confidence) / 2, n - 1) * error, n)


def t_quantile(p: float, freedom: int) -> float:
    """Returns the `p` quantile of Student's t with an integer number of degrees of freedom."""
    if p < 0.5:
        return -t_quantile(1 - p, freedom)
    high = 1.0
    while t_below(high, freedom) < p:
        high *= 2
    low = 0.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if t_below(middle, freedom) < p else (low, middle)
    return (low + high) / 2


def t_below(t: float, freedom: int) -> float:
    """Returns the probability below `t`, by the finite sums for integer degrees of freedom.

    Abramowitz & Stegun 1964, 26.7.3 and 26.7.4.
    """
    angle = math.atan(t / math.sqrt(freedom))
    cos2 = math.cos(angle) ** 2
    if freedom % 2:
        total = 0.0
        term = math.cos(angle)
        for k in range(1, freedom - 1, 2):
            total += term
            term *= cos2 * (k + 1) / (k + 2)
        within = 2 / math.pi * (angle + math.sin(angle) * total)
    else:
        total = 0.0
        term = 1.0
        for k in range(0, freedom - 1, 2):
            total += term
            term *= cos2 * (k + 1) / (k + 2)
        within = math.sin(angle) * total
    return (1 + within) / 2
