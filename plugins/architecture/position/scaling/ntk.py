"""NTK-aware scaling: a larger base interpolates the lowest frequency and keeps the highest.

bloc97 2023, https://www.reddit.com/r/LocalLLaMA/comments/14lz7j5; Peng et al. 2023,
https://arxiv.org/abs/2309.00071, definition 1: theta' = theta factor^(d / (d - 2)), d = head_dim.
The factor is fixed; in transformers' `dynamic` variant it grows with the sequence length.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from etude import plugin, require
from etude.config import ScalingConfig
from etude.network import Scaling


@dataclass
class NtkConfig(ScalingConfig):
    factor: float = 2.0
    """Extension factor of the lowest frequency, 1 or more. Typical: 2-32."""

    def __post_init__(self) -> None:
        require(self.factor >= 1, f"factor must be at least 1, got {self.factor}")


@plugin(NtkConfig)
class Ntk(Scaling):
    """Frequencies with base theta factor^(d / (d - 2))."""

    def __init__(self, config: NtkConfig) -> None:
        self.factor = config.factor

    def frequencies(self, theta: float, head_dim: int) -> Float[Tensor, " pairs"]:
        require(head_dim > 2, f"ntk needs heads wider than 2, got {head_dim}")
        power = head_dim / (head_dim - 2)
        return super().frequencies(theta * self.factor**power, head_dim)
