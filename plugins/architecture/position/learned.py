"""Learned absolute positions: one vector per position, added to the embeddings.

Gehring et al. 2017, https://arxiv.org/abs/1705.03122; GPT-2 and BERT use them.
"""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn

from etude import plugin, require
from etude.config import PositionConfig
from etude.network import Parts, Position


@dataclass
class LearnedConfig(PositionConfig):
    max_positions: int | None = 1024
    """Maximum sequence length, in tokens; the table has this many rows."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.max_positions is not None, "max_positions must be a number, got null")


@plugin(LearnedConfig)
class Learned(Position):
    """x + table[position]."""

    def __init__(self, config: LearnedConfig, parts: Parts) -> None:
        super().__init__()
        assert config.max_positions is not None
        self.table = nn.Embedding(config.max_positions, parts.embedding_dim)

    def embed(
        self, x: Float[Tensor, "batch seq dim"], positions: Int[Tensor, "#batch seq"]
    ) -> Float[Tensor, "batch seq dim"]:
        return x + self.table(positions)
