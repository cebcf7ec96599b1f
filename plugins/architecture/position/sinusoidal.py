"""Sinusoidal absolute positions: a fixed vector of sines and cosines, added to the embeddings.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5.
Deviation: embeddings are not multiplied by sqrt(dim); the wave is scaled to the embeddings' size
instead, so that it does not dominate them at the start.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from etude import plugin, require
from etude.config import PositionConfig
from etude.network import Parts, Position


@dataclass
class SinusoidalConfig(PositionConfig):
    theta: float = 10_000.0
    """Longest wavelength divided by 2 pi, in tokens."""
    scale: float = 0.02
    """Amplitude of the waves; the initial embeddings have a standard deviation of 0.02."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.theta > 1, f"theta must be above 1, got {self.theta}")
        require(self.scale > 0, f"scale must be positive, got {self.scale}")


@plugin(SinusoidalConfig)
class Sinusoidal(Position):
    """x + scale * [sin(p / theta^(2i/dim)), cos(p / theta^(2i/dim))]."""

    def __init__(self, config: SinusoidalConfig, parts: Parts) -> None:
        super().__init__()
        require(
            parts.embedding_dim % 2 == 0,
            f"sinusoidal positions need an even dim, got {parts.embedding_dim}",
        )
        self.config = config

    def embed(
        self, x: Float[Tensor, "batch seq dim"], positions: Int[Tensor, "#batch seq"]
    ) -> Float[Tensor, "batch seq dim"]:
        dim = x.shape[-1]
        steps = torch.arange(0, dim, 2, device=x.device, dtype=torch.float32)
        angles = positions[..., None] * self.config.theta ** (-steps / dim)  # batch seq dim/2
        wave = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)
        return x + self.config.scale * wave.to(x.dtype)
