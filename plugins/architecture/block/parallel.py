"""Parallel residual block: mixer and MLP read the same normalised input.

Wang & Komatsuzaki 2021 (GPT-J), https://github.com/kingoflolz/mesh-transformer-jax; Chowdhery et
al. 2022 (PaLM), https://arxiv.org/abs/2204.02311, section 2. Cross-attention, if any, is added
to the same sum.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin
from etude.config import BlockConfig
from etude.network import Block, BlockParts, Context


@dataclass
class ParallelConfig(BlockConfig):
    """No knobs."""


@plugin(ParallelConfig)
class Parallel(Block):
    """x + mixer(norm(x)) + mlp(norm(x)): one norm, and branches that can run in parallel."""

    def __init__(self, config: ParallelConfig, parts: BlockParts) -> None:
        super().__init__()
        self.dropout = nn.Dropout(parts.dropout)
        self.norm = parts.norm()
        self.mixer = parts.mixer
        self.mlp = parts.mlp
        if parts.cross is not None:
            self.cross = parts.cross

    def forward(
        self, x: Float[Tensor, "batch seq dim"], context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        normed = self.norm(x)
        added = self.mixer(normed, context) + self.mlp(normed)
        if context.source is not None:
            added = added + self.cross(normed, context.source)
        return x + self.dropout(added)
