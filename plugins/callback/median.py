"""Stops a job of a sweep whose best is worse than what half of the others had on average.

Golovin et al. 2017 (Vizier), https://doi.org/10.1145/3097983.3098043, section 3.2.2: the median,
over the jobs that have come as far, of the mean of their values up to that step. Without a sweep
there is nobody to be behind.
"""

from dataclasses import dataclass
from math import isfinite
from statistics import mean, median

from etude import plugin
from etude.experiment import Best
from etude.rivals import Pruning
from etude.schema import CallbackConfig, require
from etude.sweep_folder import Curve


@dataclass
class MedianConfig(CallbackConfig):
    metric: str = "val/loss"
    """The held-out number by which jobs are compared, as it is called in steps.jsonl."""
    best: Best = Best.lowest
    """Which value of it is the best: the lowest (of losses), or the highest."""
    min_steps: int = 60
    """Steps before the first comparison."""
    min_jobs: int = 4
    """Jobs that must have come as far before one is stopped."""

    def __post_init__(self) -> None:
        require(self.min_steps >= 1, f"min_steps must be at least 1, got {self.min_steps}")
        require(self.min_jobs >= 1, f"min_jobs must be at least 1, got {self.min_jobs}")


@plugin(MedianConfig)
class Median(Pruning):
    """Compares a job at each validation."""

    def __init__(self, config: MedianConfig) -> None:
        super().__init__(config.metric, config.best)
        self.config = config

    def is_behind(self, own: Curve, rivals: list[Curve]) -> bool:
        now = max(own)
        come = [rival for rival in rivals if rival and max(rival) >= now]
        if now < self.config.min_steps or len(come) < self.config.min_jobs:
            return False
        means = [mean(v for step, v in rival.items() if step <= now) for rival in come]
        means = [value for value in means if isfinite(value)]
        reached = [value for value in own.values() if isfinite(value)]
        if not reached or not means:
            return not reached
        best = min(reached) if self.best is Best.lowest else max(reached)
        return self.best.improves(median(means), best)
