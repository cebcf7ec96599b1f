"""Rotary positions: queries and keys are rotated by an angle proportional to their position.

Su et al. 2021, https://arxiv.org/abs/2104.09864, equation 34.
A separate base for layers with a window: Warner et al. 2024 (ModernBERT),
https://arxiv.org/abs/2412.13663, section 2.1.2. Context extension is a separate choice:
`architecture/position/scaling`. Rotating only some features: Black et al. 2022 (GPT-NeoX),
https://arxiv.org/abs/2204.06745, section 2.1.1.
Deviation, as in transformers: feature i is paired with i + head_dim / 2, not with its neighbour.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from etude import option, plugin, require
from etude.config import PositionConfig, ScalingConfig, build
from etude.network import Context, Parts, Position, Scaling


@dataclass
class RopeConfig(PositionConfig):
    scaling: ScalingConfig = option("none")
    theta: float = 10_000.0
    """Base of the wavelengths; larger suits longer contexts. LLaMA 3: 500000."""
    local_theta: float | None = None
    """Base for layers with a window, never scaled; null = as in other layers. ModernBERT: 10000."""

    rotary_fraction: float = 1.0
    """Fraction of the features of a head that are rotated, the first ones. Qwen3-Next: 0.25."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            0 < self.rotary_fraction <= 1,
            f"rotary_fraction must be in (0, 1], got {self.rotary_fraction}",
        )
        require(self.theta > 1, f"theta must be above 1, got {self.theta}")
        require(
            self.local_theta is None or self.local_theta > 1,
            f"local_theta must be above 1 or null, got {self.local_theta}",
        )


@plugin(RopeConfig)
class Rope(Position):
    """Rotates q and k, so that q.k depends on positions only through their difference."""

    def __init__(self, config: RopeConfig, parts: Parts) -> None:
        super().__init__()
        require(
            parts.head_dim % 2 == 0,
            f"rope needs an even head_dim (dim / n_heads by default), got {parts.head_dim}",
        )
        width = int(parts.head_dim * config.rotary_fraction)
        require(
            width > 0 and width % 2 == 0,
            f"rotary_fraction={config.rotary_fraction} of head_dim={parts.head_dim} must be an "
            f"even number of features, got {width}",
        )
        self.width = width
        scaling = build(config.scaling)
        self.frequencies = self.local_frequencies = _frequency_list(scaling, config.theta, width)
        self.factor = self.local_factor = scaling.attention_factor
        if config.local_theta is not None:
            self.local_frequencies = _frequency_list(Scaling(), config.local_theta, width)
            self.local_factor = 1.0

    def rotate(
        self, x: Float[Tensor, "batch heads seq head_dim"], context: Context
    ) -> Float[Tensor, "batch heads seq head_dim"]:
        rotation = context.once("rope", lambda: self._cos_sin(x, context))
        assert rotation is not None
        cos, sin = rotation
        first, second, rest = x.tensor_split((self.width // 2, self.width), dim=-1)
        return torch.cat((first * cos - second * sin, second * cos + first * sin, rest), dim=-1)

    def _cos_sin(self, x: Tensor, context: Context) -> Tensor:
        """Returns cosines and sines, [2 batch 1 seq head_dim/2], computed in at least fp32."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        local = context.window is not None
        frequencies = self.local_frequencies if local else self.frequencies
        positions = context.positions[:, None, :, None].to(dtype)
        angles = positions * torch.tensor(frequencies, device=x.device, dtype=dtype)
        factor = self.local_factor if local else self.factor
        return (factor * torch.stack((angles.cos(), angles.sin()))).to(x.dtype)


def _frequency_list(scaling: Scaling, theta: float, head_dim: int) -> list[float]:
    """Returns frequencies as floats: a tensor would not survive the meta device or a bf16 cast."""
    return scaling.frequencies(theta, head_dim).tolist()
