"""LLaMA 3.1's scaling: keeps high rotary frequencies and interpolates low ones.

Grattafiori et al. 2024, https://arxiv.org/abs/2407.21783, section 3.4.2, as in `apply_scaling` of
https://github.com/meta-llama/llama-models: YaRN with a ramp over the number of rotations, and
without its attention factor.
"""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from etude import only_with, plugin, require
from etude.config import ScalingConfig
from etude.network import Scaling


@dataclass
class Llama3Config(ScalingConfig):
    factor: float = 8.0
    """Context extension factor, 1 or more. LLaMA 3.1: 8."""
    trained_positions: int = only_with("factor>1", 8192)
    """Context length of the original training, in tokens."""
    beta_fast: float = only_with("factor>1", 4.0)
    """Pairs with more rotations in trained_positions keep their frequency."""
    beta_slow: float = only_with("factor>1", 1.0)
    """Pairs with fewer rotations are interpolated by the full factor."""

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


@plugin(Llama3Config)
class Llama3(Scaling):
    """(1 - ramp) f + ramp f / factor; the ramp rises from 0 at fast pairs to 1 at slow ones."""

    def __init__(self, config: Llama3Config) -> None:
        self.config = config

    def frequencies(self, theta: float, head_dim: int) -> Float[Tensor, " pairs"]:
        config = self.config
        plain = super().frequencies(theta, head_dim)
        rotations = config.trained_positions * plain / (2 * math.pi)
        ramp = (config.beta_fast - rotations) / (config.beta_fast - config.beta_slow)
        ramp = ramp.clamp(0, 1)
        return (1 - ramp) * plain + ramp * plain / config.factor
