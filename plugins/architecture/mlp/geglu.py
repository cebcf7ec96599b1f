"""GEGLU: one linear layer gates another through a GELU.

Shazeer 2020, https://arxiv.org/abs/2002.05202; used in T5 v1.1 and ModernBERT.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from etude import plugin, require
from etude.config import Approximate, MlpConfig
from etude.network import GatedFeedForward, Parts, hidden_size


@dataclass
class GegluConfig(MlpConfig):
    ratio: float = 8 / 3
    """Hidden width as a multiple of dim."""
    multiple_of: int = 16
    """The hidden width is rounded up to a multiple of this."""
    bias: bool = False
    """Whether the three linear layers have biases."""
    approximate: Approximate = Approximate.none
    """none = exact GELU; tanh = its tanh approximation, as in T5 v1.1."""

    def __post_init__(self) -> None:
        require(self.ratio > 0, f"ratio must be positive, got {self.ratio}")
        require(self.multiple_of >= 1, f"multiple_of must be at least 1, got {self.multiple_of}")

    def hidden(self, dim: int) -> int:
        """Width of the hidden layer in a network of width `dim`."""
        return hidden_size(dim, self.ratio, self.multiple_of)


@plugin(GegluConfig)
def geglu(config: GegluConfig, parts: Parts) -> GatedFeedForward:
    """down(gelu(gate(x)) * up(x))."""

    def activation(x: Tensor) -> Tensor:
        return F.gelu(x, approximate=config.approximate.value)

    hidden = config.hidden(parts.dim)
    return GatedFeedForward(parts.dim, hidden, bias=config.bias, activation=activation)
