"""The learning rate falls as a power of what is left of the run, after the warm-up.

(Name your own source here, and what you do otherwise.)
"""

from collections.abc import Callable
from dataclasses import dataclass

from etude import plugin, require
from etude.config import ScheduleConfig
from etude.training import with_warmup


@dataclass
class SketchConfig(ScheduleConfig):
    power: float = 2.0
    """1 is a straight line; larger falls sooner."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.power > 0, f"power must be positive, got {self.power}")


@plugin(SketchConfig)
def sketch(config: SketchConfig, total_steps: int) -> Callable[[int], float]:
    """Factor (1 - progress) ** power."""
    return with_warmup(
        config.warmup_steps, total_steps, lambda progress: (1 - progress) ** config.power
    )
