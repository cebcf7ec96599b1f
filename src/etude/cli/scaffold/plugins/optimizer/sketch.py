"""RMSprop: each element's gradient over the root of its mean square.

Hinton 2012, https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf, slide 29.
(Name your own source here, and what you do otherwise.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from etude import plugin, require
from etude.config import OptimizerConfig
from etude.training import OptimizerParameter, decay_groups


@dataclass
class SketchConfig(OptimizerConfig):
    alpha: float = 0.99
    """Share of the mean square that is kept each step, in [0, 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.alpha < 1, f"alpha must be in [0, 1), got {self.alpha}")


@plugin(SketchConfig)
def sketch(config: SketchConfig, parameters: Sequence[OptimizerParameter]) -> torch.optim.RMSprop:
    """Torch's RMSprop; of what no entry of `groups` names, matrices alone decay."""
    return torch.optim.RMSprop(decay_groups(config, parameters), lr=config.lr, alpha=config.alpha)
