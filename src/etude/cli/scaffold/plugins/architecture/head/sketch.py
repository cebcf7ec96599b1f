"""Cosine head: hidden states are normalized before the output projection.

Wang et al. 2018 (CosFace), https://arxiv.org/abs/1801.09414, section 3, without its margin.
(Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin, require
from etude.config import HeadConfig
from etude.network import Head, HeadParts


@dataclass
class SketchConfig(HeadConfig):
    sharpness: float = 20.0
    """Norm of every state after scaling; larger = more confident predictions."""

    def __post_init__(self) -> None:
        require(self.sharpness > 0, f"sharpness must be positive, got {self.sharpness}")


@plugin(SketchConfig)
class Sketch(Head):
    """Computes out(sharpness * x / |x|); x is projected first if the embedding is narrower."""

    def __init__(self, config: SketchConfig, parts: HeadParts) -> None:
        super().__init__()
        width = parts.embedding_dim
        self.sharpness = config.sharpness
        self.narrow: nn.Module = (
            nn.Linear(parts.dim, width, bias=False) if width != parts.dim else nn.Identity()
        )
        self.out = nn.Linear(width, parts.n_vocab, bias=False)

    def forward(self, states: Float[Tensor, "... dim"]) -> Float[Tensor, "... vocab"]:
        return self.out(self.sharpness * F.normalize(self.narrow(states), dim=-1))
