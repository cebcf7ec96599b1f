"""The learning rate falls with the inverse square root of the step, with no fixed end.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, equation 3, divided by its peak at the end of
the warm-up: `optimizer.lr` covers the dependence on network width.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from etude import plugin
from etude.config import ScheduleConfig
from etude.training import warmup_length


@dataclass
class InverseSqrtConfig(ScheduleConfig):
    """No knobs of its own: a longer warm-up makes the decay slower."""


@plugin(InverseSqrtConfig)
def inverse_sqrt(config: InverseSqrtConfig, total_steps: int) -> Callable[[int], float]:
    """Factor min(n / w, sqrt(w / n)) at step n, with w warm-up steps."""
    rise = max(1, warmup_length(config.warmup_steps, total_steps))

    def factor(step: int) -> float:
        return min((step + 1) / rise, math.sqrt(rise / (step + 1)))

    return factor
