"""NTK-aware scaling: another base, so that the slowest pair is interpolated and the fastest is not.

bloc97 2023, https://www.reddit.com/r/LocalLLaMA/comments/14lz7j5; Peng et al. 2023,
https://arxiv.org/abs/2309.00071, definition 1: theta' = theta factor^(d / (d - 2)), d = head_dim.
The factor is fixed; what transformers calls dynamic lets it grow with the text.
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
    """How many times further the slowest pair is to reach, 1 or more; usual range 2 to 32."""

    def __post_init__(self) -> None:
        require(self.factor >= 1, f"factor must be at least 1, got {self.factor}")


@plugin(NtkConfig)
class Ntk(Scaling):
    """Frequencies of a base of theta factor^(d / (d - 2))."""

    def __init__(self, config: NtkConfig) -> None:
        self.factor = config.factor

    def frequencies(self, theta: float, head_dim: int) -> Float[Tensor, " pairs"]:
        require(head_dim > 2, f"ntk needs heads wider than 2, got {head_dim}")
        power = head_dim / (head_dim - 2)
        return super().frequencies(theta * self.factor**power, head_dim)
