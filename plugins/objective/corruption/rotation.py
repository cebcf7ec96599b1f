"""Document rotation: rotates a text to start at a random token; the target is the original.

Lewis et al. 2019 (BART), https://arxiv.org/abs/1910.13461, section 2.2.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from etude import plugin
from etude.config import CorruptionConfig
from etude.data import Tokenizer
from etude.objective import Corruption

from ._noise import rotate


@dataclass
class RotationConfig(CorruptionConfig):
    """No knobs: every token is equally likely to come first."""


@plugin(RotationConfig)
class Rotation(Corruption):
    """tokens -> (tokens rotated to a random start, tokens)."""

    def __init__(self, config: RotationConfig, tokenizer: Tokenizer) -> None:
        pass

    def __call__(
        self, tokens: Int[np.ndarray, " n"], rng: np.random.Generator
    ) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        return rotate(tokens, rng), tokens
