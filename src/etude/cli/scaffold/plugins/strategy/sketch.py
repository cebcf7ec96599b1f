"""Distributed data parallel with a size of its own for the gradients that travel together.

Li et al. 2020, https://arxiv.org/abs/2006.15704, section 3.2.3.
(Name your own source here, and what you do otherwise.)
"""

from dataclasses import dataclass

from lightning.pytorch.strategies import DDPStrategy

from etude import plugin, require
from etude.config import StrategyConfig


@dataclass
class SketchConfig(StrategyConfig):
    bucket_mb: int = 25
    """Megabytes of gradients that are sent at once."""

    def __post_init__(self) -> None:
        require(self.bucket_mb >= 1, f"bucket_mb must be at least 1, got {self.bucket_mb}")


@plugin(SketchConfig)
def sketch(config: SketchConfig) -> DDPStrategy:
    """One process a device; gradients are averaged, which the step undoes to keep sums."""
    return DDPStrategy(bucket_cap_mb=config.bucket_mb)
