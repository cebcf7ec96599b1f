"""Sandwich-norm residual block: each branch is normalised before and after.

Ding et al. 2021 (CogView), https://arxiv.org/abs/2105.13290, section 2.4; Gemma 2 uses it
(https://arxiv.org/abs/2408.00118), and Kim et al. 2025, https://arxiv.org/abs/2502.02732, study it
as Peri-LN, which also normalises the embeddings: `architecture.norm_embedding=true`.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin
from etude.config import BlockConfig
from etude.network import Block, BlockParts, Context


@dataclass
class SandwichConfig(BlockConfig):
    """No knobs."""


@plugin(SandwichConfig)
class Sandwich(Block):
    """x + out_norm(mixer(in_norm(x))); likewise for cross-attention, if any, and the MLP."""

    def __init__(self, config: SandwichConfig, parts: BlockParts) -> None:
        super().__init__()
        self.dropout = nn.Dropout(parts.dropout)
        self.mixer_norm = parts.norm()
        self.mixer = parts.mixer
        self.mixer_out_norm = parts.norm()
        if parts.cross is not None:
            self.cross_norm = parts.norm()
            self.cross = parts.cross
            self.cross_out_norm = parts.norm()
        self.mlp_norm = parts.norm()
        self.mlp = parts.mlp
        self.mlp_out_norm = parts.norm()

    def forward(
        self, x: Float[Tensor, "batch seq dim"], context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        x = x + self.dropout(self.mixer_out_norm(self.mixer(self.mixer_norm(x), context)))
        if context.source is not None:
            cross = self.cross(self.cross_norm(x), context.source)
            x = x + self.dropout(self.cross_out_norm(cross))
        return x + self.dropout(self.mlp_out_norm(self.mlp(self.mlp_norm(x))))
