"""Adafactor: running squares of gradients as one row and one column a matrix.

Shazeer & Stern 2018, https://arxiv.org/abs/1804.04235, algorithm 4; torch's, without momentum.
As there, the learning rate is a share of the root mean square of each tensor, and at most
1 / sqrt(step): T5 takes 0.01, and an objective's own rate, which is meant for AdamW, is slow.
Weight decay is apart from the gradient; biases, norms and embeddings are not decayed.
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
    """Share of each matrix taken away a step, times the learning rate."""
    decay_power: float = 0.8
    """At step t the running squares keep 1 - t^-decay_power of themselves; in (0, 1]."""
    clip: float = 1.0
    """Largest root mean square of an update, before the learning rate; 1 or more."""
    min_scale: float = 1e-3
    """Least root mean square that a tensor is taken to have, so that zeros can move."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.decay_power <= 1, f"decay_power must be in (0, 1], got {self.decay_power}")
        require(self.clip >= 1, f"clip must be at least 1, got {self.clip}")
        require(self.min_scale > 0, f"min_scale must be positive, got {self.min_scale}")


@plugin(AdafactorConfig)
def adafactor(
    config: AdafactorConfig, parameters: Sequence[OptimizerParameter]
) -> torch.optim.Adafactor:
    """Torch's Adafactor; of what no entry of `groups` names, matrices alone decay."""
    return torch.optim.Adafactor(
        decay_groups(config, parameters),
        lr=config.lr,
        beta2_decay=-config.decay_power,
        eps=(None, config.min_scale),
        d=config.clip,
    )
