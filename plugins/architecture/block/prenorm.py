"""Pre-norm residual block: each branch normalises its input, not the residual stream itself.

Xiong et al. 2020, https://arxiv.org/abs/2002.04745; used in GPT-2, LLaMA and T5.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin
from etude.config import BlockConfig
from etude.network import Block, BlockParts, Context


@dataclass
class PrenormConfig(BlockConfig):
    skip_first: bool = False
    """Omit the first norm of the first layer, as in ModernBERT."""


@plugin(PrenormConfig)
class Prenorm(Block):
    """x + mixer(norm(x)), then cross-attention, if any, then x + mlp(norm(x))."""

    def __init__(self, config: PrenormConfig, parts: BlockParts) -> None:
        super().__init__()
        self.dropout = nn.Dropout(parts.dropout)
        skip = config.skip_first and parts.layer == 0
        self.mixer_norm: nn.Module = nn.Identity() if skip else parts.norm()
        self.mixer = parts.mixer
        if parts.cross is not None:
            self.cross_norm = parts.norm()
            self.cross = parts.cross
        self.mlp_norm = parts.norm()
        self.mlp = parts.mlp

    def forward(
        self, x: Float[Tensor, "batch seq dim"], context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        x = x + self.dropout(self.mixer(self.mixer_norm(x), context))
        if context.source is not None:
            x = x + self.dropout(self.cross(self.cross_norm(x), context.source))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))
