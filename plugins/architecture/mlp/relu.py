"""Two linear maps with a ReLU between.

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
    """Width of the hidden layer over the width of the network."""
    bias: bool = True
    """Whether the two maps have biases."""

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
