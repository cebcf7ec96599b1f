"""Sinusoidal position embeddings with a learned projection, added to the token embeddings.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5. Deviation: the projection.
(Replace this with your source and your deviations from it.)
A position plugin implements one of `embed`, `rotate` (queries and keys) and `bias` (logits).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from etude import plugin, require
from etude.config import PositionConfig
from etude.network import Parts, Position


@dataclass
class SketchConfig(PositionConfig):
    longest: float = 10_000.0
    """Longest wavelength divided by 2 pi, in positions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.longest > 1, f"longest must be above 1, got {self.longest}")


def waves(
    positions: Int[Tensor, "batch seq"], n: int, longest: float
) -> Float[Tensor, "batch seq waves"]:
    """Returns n sines, then n cosines, with decreasing frequency."""
    steps = torch.arange(n, device=positions.device, dtype=torch.float64) / n
    angles = positions[..., None] * longest**-steps
    return torch.cat((angles.sin(), angles.cos()), dim=-1)


@plugin(SketchConfig)
class Sketch(Position):
    """Computes x + map(sines and cosines)."""

    def __init__(self, config: SketchConfig, parts: Parts) -> None:
        super().__init__()
        self.longest = config.longest
        self.n = max(1, parts.embedding_dim // 2)
        self.map = nn.Linear(2 * self.n, parts.embedding_dim, bias=False)

    def embed(
        self, x: Float[Tensor, "batch seq dim"], positions: Int[Tensor, "#batch seq"]
    ) -> Float[Tensor, "batch seq dim"]:
        return x + self.map(waves(positions, self.n, self.longest).to(x.dtype))
