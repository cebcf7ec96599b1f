"""Context extension of RoPE that divides the low frequencies alone, and all of them equally.

Chen et al. 2023 (position interpolation), https://arxiv.org/abs/2306.15595, equation 4. Deviation:
high frequencies are kept. (Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from etude import plugin, require
from etude.config import ScalingConfig
from etude.network import Scaling


@dataclass
class SketchConfig(ScalingConfig):
    factor: float = 2.0
    """Context extension factor, 1 or more. Typical: 2-32."""
    kept: float = 0.1
    """Frequencies above this one, in radians per token, are kept."""

    def __post_init__(self) -> None:
        require(self.factor >= 1, f"factor must be at least 1, got {self.factor}")


@plugin(SketchConfig)
class Sketch(Scaling):
    """Frequencies of at most `kept`, divided by `factor`."""

    def __init__(self, config: SketchConfig) -> None:
        self.config = config

    def frequencies(self, theta: float, head_dim: int) -> Float[Tensor, " pairs"]:
        base = super().frequencies(theta, head_dim)
        return torch.where(base > self.config.kept, base, base / self.config.factor)
