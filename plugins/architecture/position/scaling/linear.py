"""Position interpolation: all rotary frequencies are divided by the same factor.

Chen et al. 2023, https://arxiv.org/abs/2306.15595, equation 4.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from etude import plugin, require
from etude.config import ScalingConfig
from etude.network import Scaling


@dataclass
class LinearConfig(ScalingConfig):
    factor: float = 2.0
    """Context extension factor, 1 or more. Typical: 2-32."""

    def __post_init__(self) -> None:
        require(self.factor >= 1, f"factor must be at least 1, got {self.factor}")


@plugin(LinearConfig)
class Linear(Scaling):
    """Frequencies divided by `factor`."""

    def __init__(self, config: LinearConfig) -> None:
        self.factor = config.factor

    def frequencies(self, theta: float, head_dim: int) -> Float[Tensor, " pairs"]:
        return super().frequencies(theta, head_dim) / self.factor
