"""Two linear maps with a GELU between.

Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415. GPT-2 uses the tanh form, BERT the exact.
"""

from dataclasses import dataclass

from torch import nn

from etude import plugin, require
from etude.config import MlpConfig
from etude.network import Approximate, FeedForward, Parts, hidden_size


@dataclass
class GeluConfig(MlpConfig):
    ratio: float = 4.0
    """Width of the hidden layer over the width of the network."""
    bias: bool = True
    """Whether the two maps have biases."""
    approximate: Approximate = Approximate.none
    """none is exact; tanh is the approximation GPT-2 was trained with."""

    def __post_init__(self) -> None:
        require(self.ratio > 0, f"ratio must be positive, got {self.ratio}")

    def hidden(self, dim: int) -> int:
        """Width of the hidden layer in a network of width `dim`."""
        return hidden_size(dim, self.ratio)


@plugin(GeluConfig)
def gelu(config: GeluConfig, parts: Parts) -> FeedForward:
    """down(gelu(up(x)))."""
    hidden = config.hidden(parts.dim)
    activation = nn.GELU(config.approximate.value)
    return FeedForward(parts.dim, hidden, bias=config.bias, activation=activation)
