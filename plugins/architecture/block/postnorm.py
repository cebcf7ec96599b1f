"""Post-norm residual block: the residual stream is normalised after each branch is added.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.1; used in BERT and BART.
It needs warm-up: gradients near the output are large at the start (Xiong et al. 2020).
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin
from etude.config import BlockConfig
from etude.network import Block, BlockParts, Context


@dataclass
class PostnormConfig(BlockConfig):
    """No knobs."""


@plugin(PostnormConfig)
class Postnorm(Block):
    """norm(x + mixer(x)), then cross-attention, if any, then norm(x + mlp(x))."""

    final_norm = False

    def __init__(self, config: PostnormConfig, parts: BlockParts) -> None:
        super().__init__()
        self.dropout = nn.Dropout(parts.dropout)
        self.mixer = parts.mixer
        self.mixer_norm = parts.norm()
        if parts.cross is not None:
            self.cross = parts.cross
            self.cross_norm = parts.norm()
        self.mlp = parts.mlp
        self.mlp_norm = parts.norm()

    def forward(
        self, x: Float[Tensor, "batch seq dim"], context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        x = self.mixer_norm(x + self.dropout(self.mixer(x, context)))
        if context.source is not None:
            x = self.cross_norm(x + self.dropout(self.cross(x, context.source)))
        return self.mlp_norm(x + self.dropout(self.mlp(x)))
