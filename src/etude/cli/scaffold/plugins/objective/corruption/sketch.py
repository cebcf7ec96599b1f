"""Repeats random tokens of the input; the target is the original text.

(Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from etude import plugin, require
from etude.config import CorruptionConfig
from etude.data import Tokenizer
from etude.objective import Corruption


@dataclass
class SketchConfig(CorruptionConfig):
    repeat_ratio: float = 0.15
    """Fraction of tokens to repeat, in (0, 1)."""

    def __post_init__(self) -> None:
        require(
            0 < self.repeat_ratio < 1, f"repeat_ratio must be in (0, 1), got {self.repeat_ratio}"
        )


@plugin(SketchConfig)
class Sketch(Corruption):
    """Maps tokens to (tokens with some repeated, tokens)."""

    def __init__(self, config: SketchConfig, tokenizer: Tokenizer) -> None:
        self.ratio = config.repeat_ratio

    def __call__(
        self, tokens: Int[np.ndarray, " n"], rng: np.random.Generator
    ) -> tuple[Int[np.ndarray, " input"], Int[np.ndarray, " n"]]:
        times = 1 + (rng.random(len(tokens)) < self.ratio)
        return np.repeat(tokens, times), tokens

    def raw_length(self, seq_len: int) -> int:
        """Maximum number of original tokens: half of seq_len, as every token may be repeated."""
        return (seq_len - 1) // 2
