"""The learning rate falls along half a cosine after the warm-up.

Loshchilov & Hutter 2016, https://arxiv.org/abs/1608.03983, equation 5, without restarts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from etude import plugin, require
from etude.config import ScheduleConfig
from etude.training import with_warmup


@dataclass
class CosineConfig(ScheduleConfig):
    final: float = 0.1
    """Learning rate at the end as a fraction of the peak, in [0, 1]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.final <= 1, f"final must be in [0, 1], got {self.final}")


@plugin(CosineConfig)
def cosine(config: CosineConfig, total_steps: int) -> Callable[[int], float]:
    """Factor final + (1 - final) (1 + cos(pi x progress)) / 2."""

    def decay(progress: float) -> float:
        return config.final + (1 - config.final) * (1 + math.cos(math.pi * progress)) / 2

    return with_warmup(config.warmup_steps, total_steps, decay)
