"""Two linear layers with a ReLU in between.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.3.
"""

from dataclasses import dataclass

from torch import nn

from etude import plugin, require
from etude.config import MlpConfig
from etude.network import FeedForward, Parts, hidden_size


@dataclass
class ReluConfig(MlpConfig):
    ratio: float = 4.0
    """Hidden width as a multiple of dim."""
    bias: bool = True
    """Whether the two linear layers have biases."""

    def __post_init__(self) -> None:
        require(self.ratio > 0, f"ratio must be positive, got {self.ratio}")

    def hidden(self, dim: int) -> int:
        """Width of the hidden layer in a network of width `dim`."""
        return hidden_size(dim, self.ratio)


@plugin(ReluConfig)
def relu(config: ReluConfig, parts: Parts) -> FeedForward:
    """down(relu(up(x)))."""
    hidden = config.hidden(parts.dim)
    return FeedForward(parts.dim, hidden, bias=config.bias, activation=nn.ReLU())
