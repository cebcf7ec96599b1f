"""RMSprop: each gradient element divided by its root mean square.

Hinton 2012, https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf, slide 29.
(Replace this with your source and your deviations from it.)
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
    """Decay rate of the mean square per step, in [0, 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.alpha < 1, f"alpha must be in [0, 1), got {self.alpha}")


@plugin(SketchConfig)
def sketch(config: SketchConfig, parameters: Sequence[OptimizerParameter]) -> torch.optim.RMSprop:
    """Torch's RMSprop. Weight decay applies to matrices only, unless `groups` says otherwise."""
    return torch.optim.RMSprop(decay_groups(config, parameters), lr=config.lr, alpha=config.alpha)
