"""The learning rate falls linearly after the warm-up."""

from collections.abc import Callable
from dataclasses import dataclass

from etude import plugin, require
from etude.config import ScheduleConfig
from etude.training import with_warmup


@dataclass
class LinearConfig(ScheduleConfig):
    final: float = 0.0
    """Learning rate at the end as a fraction of the peak, in [0, 1]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.final <= 1, f"final must be in [0, 1], got {self.final}")


@plugin(LinearConfig)
def linear(config: LinearConfig, total_steps: int) -> Callable[[int], float]:
    """Factor 1 - (1 - final) x progress."""
    return with_warmup(
        config.warmup_steps, total_steps, lambda progress: 1 - (1 - config.final) * progress
    )
