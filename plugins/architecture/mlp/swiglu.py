"""SwiGLU: one linear layer gates another through a SiLU.

Shazeer 2020, https://arxiv.org/abs/2002.05202; a ratio of 8/3 has the parameter count
of an ungated MLP with ratio 4; rounded up as in LLaMA (Touvron et al. 2023,
https://arxiv.org/abs/2302.13971).
"""

from dataclasses import dataclass

import torch.nn.functional as F

from etude import plugin, require
from etude.config import MlpConfig
from etude.network import GatedFeedForward, Parts, hidden_size


@dataclass
class SwigluConfig(MlpConfig):
    ratio: float = 8 / 3
    """Hidden width as a multiple of dim."""
    multiple_of: int = 16
    """The hidden width is rounded up to a multiple of this (LLaMA: 256)."""
    bias: bool = False
    """Whether the three linear layers have biases."""

    def __post_init__(self) -> None:
        require(self.ratio > 0, f"ratio must be positive, got {self.ratio}")
        require(self.multiple_of >= 1, f"multiple_of must be at least 1, got {self.multiple_of}")

    def hidden(self, dim: int) -> int:
        """Width of the hidden layer in a network of width `dim`."""
        return hidden_size(dim, self.ratio, self.multiple_of)


@plugin(SwigluConfig)
def swiglu(config: SwigluConfig, parts: Parts) -> GatedFeedForward:
    """down(silu(gate(x)) * up(x))."""
    return GatedFeedForward(
        parts.dim, config.hidden(parts.dim), bias=config.bias, activation=F.silu
    )
