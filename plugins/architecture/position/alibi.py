"""ALiBi: attention logits fall linearly with distance, at a different slope in each head.

Press et al. 2021, https://arxiv.org/abs/2108.12409, section 3; a number of heads that is not a
power of two follows its `get_slopes`. Bidirectional attention uses the absolute distance.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from etude import plugin
from etude.config import PositionConfig
from etude.network import Context, Parts, Position


@dataclass
class AlibiConfig(PositionConfig):
    """No knobs of its own."""


def slopes(n_heads: int) -> list[float]:
    """Returns 2^(-8 i / n), i from 1, for n = 2^k heads, and 2^(-8 i / 2n), i odd, for the rest."""
    n = 2 ** math.floor(math.log2(n_heads))
    between = [2 ** (-4 * i / n) for i in range(1, 2 * n, 2)]
    return ([2 ** (-8 * i / n) for i in range(1, n + 1)] + between)[:n_heads]


@plugin(AlibiConfig)
class Alibi(Position):
    """Adds -slope * |query position - key position| to the logits."""

    def __init__(self, config: AlibiConfig, parts: Parts) -> None:
        super().__init__()
        self.slopes = slopes(parts.n_heads)

    def bias(
        self, context: Context, dtype: torch.dtype
    ) -> Float[Tensor, "#batch heads queries keys"]:
        offset = context.positions[:, None, :, None] - context.key_positions[:, None, None, :]
        slope = torch.tensor(self.slopes, device=offset.device, dtype=dtype)
        return -slope[:, None, None] * offset.abs()
