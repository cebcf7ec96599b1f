"""RMSNorm with the mean absolute value instead of the root mean square.

(Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin, require
from etude.config import NormConfig
from etude.network import Parts


@dataclass
class SketchConfig(NormConfig):
    eps: float = 1e-6
    """Added to the mean for numerical stability."""

    def __post_init__(self) -> None:
        require(self.eps > 0, f"eps must be positive, got {self.eps}")


@plugin(SketchConfig)
class Sketch(nn.Module):
    """Computes scale * x / mean(|x|)."""

    def __init__(self, config: SketchConfig, parts: Parts) -> None:
        super().__init__()
        self.eps = config.eps
        self.scale = nn.Parameter(torch.ones(parts.dim))

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return self.scale * x / (x.abs().mean(-1, keepdim=True) + self.eps)
