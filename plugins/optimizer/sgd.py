"""Stochastic gradient descent with momentum.

Sutskever et al. 2013, https://proceedings.mlr.press/v28/sutskever13.html. Deviation, as in torch:
the learning rate multiplies the momentum too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from etude import plugin, require
from etude.config import OptimizerConfig
from etude.training import OptimizerParameter, decay_groups


@dataclass
class SgdConfig(OptimizerConfig):
    weight_decay: float = 0.0
    """L2 penalty on matrices, added to their gradient."""
    momentum: float = 0.9
    """Momentum coefficient, in [0, 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.momentum < 1, f"momentum must be in [0, 1), got {self.momentum}")


@plugin(SgdConfig)
def sgd(config: SgdConfig, parameters: Sequence[OptimizerParameter]) -> torch.optim.SGD:
    """Torch's SGD; weight decay applies to matrices only, unless `groups` says otherwise."""
    groups = decay_groups(config, parameters)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)
