"""LayerNorm: zero mean and unit variance over the features, then scale and shift.

Ba et al. 2016, https://arxiv.org/abs/1607.06450.
"""

from dataclasses import dataclass

from torch import nn

from etude import plugin, require
from etude.config import NormConfig
from etude.network import Parts


@dataclass
class LayernormConfig(NormConfig):
    eps: float = 1e-5
    """Epsilon, added to the variance. BERT: 1e-12."""
    bias: bool = True
    """Whether to add a learned shift."""

    def __post_init__(self) -> None:
        require(self.eps > 0, f"eps must be positive, got {self.eps}")


@plugin(LayernormConfig)
def layernorm(config: LayernormConfig, parts: Parts) -> nn.LayerNorm:
    """(x - mean) / std * scale + shift."""
    return nn.LayerNorm(parts.dim, config.eps, bias=config.bias)
