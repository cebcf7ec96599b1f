"""The learning rate stays at its peak after the warm-up."""

from collections.abc import Callable
from dataclasses import dataclass

from etude import plugin
from etude.config import ScheduleConfig
from etude.training import with_warmup


@dataclass
class ConstantConfig(ScheduleConfig):
    """No knobs of its own."""


@plugin(ConstantConfig, stays_at_peak=True)
def constant(config: ConstantConfig, total_steps: int) -> Callable[[int], float]:
    """Factor 1 after the warm-up."""
    return with_warmup(config.warmup_steps, total_steps, lambda _: 1.0)
