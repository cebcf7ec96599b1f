"""T5's relative positions: each head learns one bias per bucket of distances.

Raffel et al. 2019, https://arxiv.org/abs/1910.10683, section 2.1, with the buckets of
`mesh_tensorflow`: half of them exact, the rest logarithmic up to `max_distance`, beyond which all
distances share a bucket; bidirectional attention gives each side half of the buckets. All layers
of a stack share one table; cross-attention has none.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from etude import plugin, require
from etude.config import PositionConfig
from etude.network import Context, Parts, Position


@dataclass
class RelativeConfig(PositionConfig):
    n_buckets: int = 32
    """Number of buckets, a multiple of 4."""
    max_distance: int = 128
    """Distance, in tokens, beyond which all keys share a bucket."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.n_buckets >= 4 and self.n_buckets % 4 == 0,
            f"n_buckets must be a multiple of 4, got {self.n_buckets}",
        )
        require(
            self.max_distance > self.n_buckets // 2,
            f"max_distance must be above n_buckets / 2 = {self.n_buckets // 2}, "
            f"got {self.max_distance}",
        )


def bucket(
    ahead: Int[Tensor, "..."], n_buckets: int, max_distance: int, *, causal: bool
) -> Int[Tensor, "..."]:
    """Returns the bucket of each key that is `ahead` positions after its query."""
    side = torch.zeros_like(ahead)
    if not causal:
        n_buckets //= 2
        side = n_buckets * (ahead > 0).long()
    distance = (-ahead).clamp(min=0) if causal else ahead.abs()
    exact = n_buckets // 2
    growth = torch.log(distance.clamp(min=1).float() / exact) / math.log(max_distance / exact)
    far = exact + (growth * (n_buckets - exact)).long()
    return side + torch.where(distance < exact, distance, far.clamp(max=n_buckets - 1))


@plugin(RelativeConfig)
class Relative(Position):
    """Adds table[bucket(key position - query position)] to the logits, one number per head."""

    def __init__(self, config: RelativeConfig, parts: Parts) -> None:
        super().__init__()
        self.config = config
        self.table = nn.Embedding(config.n_buckets, parts.n_heads)

    def bias(
        self, context: Context, dtype: torch.dtype
    ) -> Float[Tensor, "#batch heads queries keys"]:
        ahead = context.key_positions[:, None, :] - context.positions[:, :, None]
        buckets = bucket(
            ahead, self.config.n_buckets, self.config.max_distance, causal=context.causal
        )
        return self.table(buckets).permute(0, 3, 1, 2).to(dtype)
