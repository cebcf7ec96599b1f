"""ALiBi: logits fall in a straight line with the distance of a key, faster in some heads.

Press et al. 2021, https://arxiv.org/abs/2108.12409, section 3; slopes for a number of heads that
is no power of two as in its `get_slopes`. Where both sides are seen, the distance is absolute.
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
    """The slope of each head: 2^(-8 i / n), i from 1; others from the next power of two between."""
    n = 2 ** math.floor(math.log2(n_heads))
    between = [2 ** (-4 * i / n) for i in range(1, 2 * n, 2)]
    return ([2 ** (-8 * i / n) for i in range(1, n + 1)] + between)[:n_heads]


@plugin(AlibiConfig)
class Alibi(Position):
    """Adds -slope * |query place - key place|."""

    def __init__(self, config: AlibiConfig, parts: Parts) -> None:
        super().__init__()
        self.slopes = slopes(parts.n_heads)

    def bias(
        self, context: Context, dtype: torch.dtype
    ) -> Float[Tensor, "#batch heads queries keys"]:
        apart = context.positions[:, None, :, None] - context.key_positions[:, None, None, :]
        slope = torch.tensor(self.slopes, device=apart.device, dtype=dtype)
        return -slope[:, None, None] * apart.abs()
