"""Distributed data parallel with a configurable gradient bucket size.

Li et al. 2020, https://arxiv.org/abs/2006.15704, section 3.2.3.
(Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass
from datetime import timedelta

from lightning.pytorch.strategies import DDPStrategy

from etude import plugin, require
from etude.config import StrategyConfig


@dataclass
class SketchConfig(StrategyConfig):
    bucket_mb: int = 25
    """Size of the gradient buckets that are all-reduced together, in MiB."""

    def __post_init__(self) -> None:
        require(self.bucket_mb >= 1, f"bucket_mb must be at least 1, got {self.bucket_mb}")


@plugin(SketchConfig)
def sketch(config: SketchConfig, rank_timeout: timedelta) -> DDPStrategy:
    """One process per device; DDP averages gradients, and the step undoes this to keep sums."""
    return DDPStrategy(bucket_cap_mb=config.bucket_mb, timeout=rank_timeout)
