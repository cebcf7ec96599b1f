"""YaRN: keeps high rotary frequencies, interpolates low ones and sharpens attention.

Peng et al. 2023, https://arxiv.org/abs/2309.00071, definition 2 and equation 15.
Deviation, as in the authors' code and transformers: the ramp between the two is linear in the
index of a pair, with ends rounded outwards, not in its number of rotations.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from etude import only_with, plugin, require
from etude.config import ScalingConfig
from etude.network import Scaling


@dataclass
class YarnConfig(ScalingConfig):
    factor: float = 2.0
    """Context extension factor, 1 or more. Typical: 2-32."""
    trained_positions: int = only_with("factor>1", 1024)
    """Context length of the original training, in tokens."""
    beta_fast: float = only_with("factor>1", 32.0)
    """Pairs with at least this many rotations in trained_positions keep their frequency."""
    beta_slow: float = only_with("factor>1", 1.0)
    """Pairs with at most this many rotations are interpolated by the full factor."""
    attention_factor: float | None = None
    """Factor applied to queries and keys; null = 0.1 ln(factor) + 1."""

    def __post_init__(self) -> None:
        require(self.factor >= 1, f"factor must be at least 1, got {self.factor}")
        require(
            self.trained_positions >= 1,
            f"trained_positions must be at least 1, got {self.trained_positions}",
        )
        require(
            0 < self.beta_slow < self.beta_fast,
            "beta_slow must be positive and below beta_fast, "
            f"got {self.beta_slow} and {self.beta_fast}",
        )
        require(
            self.attention_factor is None or self.attention_factor > 0,
            f"attention_factor must be positive or null, got {self.attention_factor}",
        )


def pair_index(rotations: float, trained: int, theta: float, head_dim: int) -> float:
    """Returns the fractional index of the pair with this many rotations in `trained` positions."""
    return head_dim * math.log(trained / (rotations * 2 * math.pi)) / (2 * math.log(theta))


@plugin(YarnConfig)
class Yarn(Scaling):
    """(1 - ramp) f + ramp f / factor; the ramp rises from 0 at fast pairs to 1 at slow ones."""

    def __init__(self, config: YarnConfig) -> None:
        self.config = config
        self.attention_factor = config.attention_factor or 0.1 * math.log(config.factor) + 1

    def frequencies(self, theta: float, head_dim: int) -> Float[Tensor, " pairs"]:
        config = self.config
        plain = super().frequencies(theta, head_dim)
        fast, slow = (
            pair_index(rotations, config.trained_positions, theta, head_dim)
            for rotations in (config.beta_fast, config.beta_slow)
        )
        first = max(math.floor(fast), 0)
        last = min(math.ceil(slow), head_dim - 1)
        width = last - first or 1e-3
        pairs = torch.arange(len(plain), dtype=plain.dtype, device=plain.device)
        ramp = ((pairs - first) / width).clamp(0, 1)
        return (1 - ramp) * plain + ramp * plain / config.factor
