"""Median stopping: stops a sweep job whose best value is worse than the median of the other jobs.

Golovin et al. 2017 (Vizier), https://doi.org/10.1145/3097983.3098043, section 3.2.2: the median,
over the jobs that have reached the same step, of the mean of their values up to that step. It has
no effect outside a sweep.
"""

from dataclasses import dataclass
from math import isfinite
from statistics import mean, median

from etude import plugin, require
from etude.config import Best
from etude.files import Curve

from ._pruning import Pruning, PruningConfig


@dataclass
class MedianConfig(PruningConfig):
    min_jobs: int = 4
    """Other jobs that must have reached the same step before one is stopped."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.min_jobs >= 1, f"min_jobs must be at least 1, got {self.min_jobs}")


@plugin(MedianConfig)
class Median(Pruning[MedianConfig]):
    """Compares a job at each validation."""

    def should_prune(self, own: Curve, others: list[Curve]) -> bool:
        now = max(own)
        comparable = [other for other in others if other and max(other) >= now]
        if now < self.config.min_steps or len(comparable) < self.config.min_jobs:
            return False
        means = [mean(v for step, v in other.items() if step <= now) for other in comparable]
        means = [value for value in means if isfinite(value)]
        values = [value for value in own.values() if isfinite(value)]
        if not values or not means:
            return not values
        best = min(values) if self.config.best is Best.lowest else max(values)
        return self.config.best.improves(median(means), best)
