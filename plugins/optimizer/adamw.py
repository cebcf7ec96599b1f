"""AdamW: Adam with decoupled weight decay.

Loshchilov & Hutter 2017, https://arxiv.org/abs/1711.05101, algorithm 2. Biases, norms and
embeddings are not decayed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from etude import only_with, plugin, require
from etude.config import OptimizerConfig
from etude.training import OptimizerParameter, decay_groups

from ._cautious import make_cautious


@dataclass
class AdamwConfig(OptimizerConfig):
    weight_decay: float = 0.1
    """Decoupled weight decay: each step shrinks matrices by lr * weight_decay. Typical: 0-0.1."""
    cautious: bool = only_with("weight_decay>0", False)
    """Decay only weights that the update moves towards 0 (Chen et al. 2025)."""
    beta1: float = 0.9
    """Decay of the running mean of gradients, in [0, 1)."""
    beta2: float = 0.95
    """Decay of the running mean of squared gradients, in [0, 1). GPT-3: 0.95, BERT: 0.999."""
    eps: float = 1e-8
    """Added to the root of the mean squared gradient."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.beta1 < 1, f"beta1 must be in [0, 1), got {self.beta1}")
        require(0 <= self.beta2 < 1, f"beta2 must be in [0, 1), got {self.beta2}")
        require(self.eps > 0, f"eps must be positive, got {self.eps}")


@plugin(AdamwConfig, elementwise=True)
def adamw(config: AdamwConfig, parameters: Sequence[OptimizerParameter]) -> torch.optim.AdamW:
    """Torch's fused AdamW; only matrices decay, unless `groups` says otherwise."""
    optimizer = torch.optim.AdamW(
        decay_groups(config, parameters),
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=True,
    )
    return make_cautious(optimizer) if config.cautious else optimizer
