"""Pre-norm residual block with a learned per-channel scale on each branch.

Touvron et al. 2021 (LayerScale), https://arxiv.org/abs/2103.17239, section 2.
(Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin, require
from etude.config import BlockConfig
from etude.network import Block, BlockParts, Context


@dataclass
class SketchConfig(BlockConfig):
    start: float = 0.1
    """Initial value of the scales; use a smaller value for deeper networks."""

    def __post_init__(self) -> None:
        require(self.start > 0, f"start must be positive, got {self.start}")


@plugin(SketchConfig)
class Sketch(Block):
    """Adds scale * f(norm(x)) to x, for f = mixer, cross-attention (if any) and MLP."""

    def __init__(self, config: SketchConfig, parts: BlockParts) -> None:
        super().__init__()
        self.dropout = nn.Dropout(parts.dropout)
        self.start = config.start
        self.mixer_norm = parts.norm()
        self.mixer = parts.mixer
        self.mlp_norm = parts.norm()
        self.mlp = parts.mlp
        self.cross = parts.cross
        self.cross_norm = None if parts.cross is None else parts.norm()
        self.scales = nn.ParameterList(self._scale() for _ in range(2 + (parts.cross is not None)))

    def forward(
        self, x: Float[Tensor, "batch seq dim"], context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        x = x + self.scales[0] * self.dropout(self.mixer(self.mixer_norm(x), context))
        if context.source is not None and self.cross is not None and self.cross_norm is not None:
            x = x + self.scales[2] * self.dropout(self.cross(self.cross_norm(x), context.source))
        return x + self.scales[1] * self.dropout(self.mlp(self.mlp_norm(x)))

    def _scale(self) -> nn.Parameter:
        width = next(self.mixer.parameters()).shape[-1]
        return nn.Parameter(torch.full((width,), self.start))
