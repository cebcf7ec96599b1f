"""Warm-up, stable, decay: the learning rate stays at its peak and decays at the end.

Hu et al. 2024 (MiniCPM), https://arxiv.org/abs/2404.06395, section 4; the 1 - sqrt shape and the
decay over a fifth of the run: Haegele et al. 2024, https://arxiv.org/abs/2405.18392, section 3.
Deviation: the fraction is of the steps after the warm-up, so that the two cannot overlap.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from etude import plugin, require
from etude.config import ScheduleConfig
from etude.training import with_warmup


class Shape(Enum):
    """Shape of the decay as a function of its progress x from 0 to 1."""

    linear = "1 - x"
    one_minus_sqrt = "1 - sqrt(x)"


@dataclass
class WsdConfig(ScheduleConfig):
    decay_fraction: float = 0.2
    """Fraction of the steps after the warm-up that decay, in (0, 1]. Typical: 0.1-0.2."""
    shape: Shape = Shape.one_minus_sqrt
    """Shape of the decay: linear, or one_minus_sqrt, which falls fast and then slowly."""
    final: float = 0.0
    """Learning rate at the end as a fraction of the peak, in [0, 1]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        fraction = self.decay_fraction
        require(0 < fraction <= 1, f"decay_fraction must be in (0, 1], got {fraction}")
        require(0 <= self.final <= 1, f"final must be in [0, 1], got {self.final}")


@plugin(WsdConfig)
def wsd(config: WsdConfig, total_steps: int) -> Callable[[int], float]:
    """Factor 1, then final + (1 - final) shape(x), where x is the progress of the decay."""

    def decay(progress: float) -> float:
        x = max(0.0, (progress - (1 - config.decay_fraction)) / config.decay_fraction)
        drop = x if config.shape is Shape.linear else math.sqrt(x)
        return config.final + (1 - config.final) * (1 - drop)

    return with_warmup(config.warmup_steps, total_steps, decay)
