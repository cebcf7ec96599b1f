"""Pre-norm residual block: each branch reads a normalised stream, the stream itself stays free.

Xiong et al. 2020, https://arxiv.org/abs/2002.04745; GPT-2, LLaMA and T5 are built so.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from etude import plugin
from etude.network import Block, BlockParts, Context
from etude.schema import BlockConfig


@dataclass
class PrenormConfig(BlockConfig):
    """No knobs."""


@plugin(PrenormConfig)
class Prenorm(Block):
    """x + mixer(norm(x)), then the source if there is one, then x + mlp(norm(x))."""

    def __init__(self, config: PrenormConfig, parts: BlockParts) -> None:
        super().__init__()
        self.dropout = parts.dropout
        self.mixer_norm, self.mixer = parts.norm(), parts.mixer
        if parts.cross is not None:
            self.cross_norm, self.cross = parts.norm(), parts.cross
        self.mlp_norm, self.mlp = parts.norm(), parts.mlp

    def forward(
        self, x: Float[Tensor, "batch seq dim"], context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        x = x + self._drop(self.mixer(self.mixer_norm(x), context))
        if context.source is not None:
            x = x + self._drop(self.cross(self.cross_norm(x), context.source))
        return x + self._drop(self.mlp(self.mlp_norm(x)))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)
