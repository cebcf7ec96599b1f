"""Two linear layers with a GELU in between.

Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415. GPT-2 uses tanh, BERT the exact form.
"""

from dataclasses import dataclass

from torch import nn

from etude import plugin, require
from etude.config import Approximate, MlpConfig
from etude.network import FeedForward, Parts, hidden_size


@dataclass
class GeluConfig(MlpConfig):
    ratio: float = 4.0
    """Hidden width as a multiple of dim."""
    bias: bool = True
    """Whether the two linear layers have biases."""
    approximate: Approximate = Approximate.none
    """none = exact GELU; tanh = its tanh approximation, as in GPT-2."""

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
