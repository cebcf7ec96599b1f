"""Squared ReLU: down(relu(up(x))^2).

So et al. 2021 (Primer), https://arxiv.org/abs/2109.08668, section 3.2.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin, require
from etude.config import MlpConfig
from etude.network import FeedForward, Parts, hidden_size


@dataclass
class ReluSquaredConfig(MlpConfig):
    ratio: float = 4.0
    """Hidden width as a multiple of dim."""
    bias: bool = False
    """Whether the two linear layers have biases."""

    def __post_init__(self) -> None:
        require(self.ratio > 0, f"ratio must be positive, got {self.ratio}")


class SquaredRelu(nn.Module):
    """relu(x)^2."""

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return F.relu(x).square()


@plugin(ReluSquaredConfig)
def relu_squared(config: ReluSquaredConfig, parts: Parts) -> FeedForward:
    """down(relu(up(x))^2)."""
    hidden = hidden_size(parts.dim, config.ratio)
    return FeedForward(parts.dim, hidden, bias=config.bias, activation=SquaredRelu())
