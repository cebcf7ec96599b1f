"""Adafactor: factored second moments, one row and one column per matrix.

Shazeer & Stern 2018, https://arxiv.org/abs/1804.04235, algorithm 4; torch's, without momentum.
As there, the learning rate is relative to the root mean square of each tensor and at most
1 / sqrt(step). T5 uses 0.01; an objective's default learning rate is meant for AdamW and too low.
Weight decay is decoupled from the gradient; biases, norms and embeddings are not decayed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from etude import plugin, require
from etude.config import OptimizerConfig
from etude.training import OptimizerParameter, decay_groups


@dataclass
class AdafactorConfig(OptimizerConfig):
    weight_decay: float = 0.0
    """Decoupled weight decay: each step shrinks matrices by lr * weight_decay. Typical: 0-0.1."""
    decay_power: float = 0.8
    """The second moments decay by 1 - t^-decay_power at step t; in (0, 1]."""
    clip: float = 1.0
    """Maximum root mean square of an update before the learning rate is applied; 1 or more."""
    min_scale: float = 1e-3
    """Lower bound on a tensor's root mean square when scaling, so that zeros can move."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.decay_power <= 1, f"decay_power must be in (0, 1], got {self.decay_power}")
        require(self.clip >= 1, f"clip must be at least 1, got {self.clip}")
        require(self.min_scale > 0, f"min_scale must be positive, got {self.min_scale}")


@plugin(AdafactorConfig)
def adafactor(
    config: AdafactorConfig, parameters: Sequence[OptimizerParameter]
) -> torch.optim.Adafactor:
    """Torch's Adafactor; weight decay applies to matrices only, unless `groups` says otherwise."""
    return torch.optim.Adafactor(
        decay_groups(config, parameters),
        lr=config.lr,
        beta2_decay=-config.decay_power,
        eps=(None, config.min_scale),
        d=config.clip,
    )
