"""Polynomial decay of the learning rate to 0, after the warmup.

(Replace this with your source and your deviations from it.)
"""

from collections.abc import Callable
from dataclasses import dataclass

from etude import plugin, require
from etude.config import ScheduleConfig
from etude.training import with_warmup


@dataclass
class SketchConfig(ScheduleConfig):
    power: float = 2.0
    """Exponent of the decay; 1 = linear, larger = faster decay at the start."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.power > 0, f"power must be positive, got {self.power}")


@plugin(SketchConfig)
def sketch(config: SketchConfig, total_steps: int) -> Callable[[int], float]:
    """Returns step -> (1 - progress) ** power, after a linear warmup."""
    return with_warmup(
        config.warmup_steps, total_steps, lambda progress: (1 - progress) ** config.power
    )
