"""Tokens to predict at even distances, from a random one on.

(Name your own source here, and what you do otherwise.)
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from etude import plugin, require
from etude.config import MaskingConfig
from etude.data import Tokenizer


@dataclass
class SketchConfig(MaskingConfig):
    apart: int = 3
    """Tokens of text from one that is masked to the next; the budget may end it sooner."""

    def __post_init__(self) -> None:
        require(self.apart >= 1, f"apart must be at least 1, got {self.apart}")


@plugin(SketchConfig)
class Sketch:
    """(tokens, budget) -> the number of the fate that each token shares, 0 where not selected."""

    def __init__(self, config: SketchConfig, tokenizer: Tokenizer) -> None:
        self.apart = config.apart
        self.special = sorted(tokenizer.vocab.special)

    def __call__(
        self, tokens: Int[np.ndarray, " seq"], budget: int, rng: np.random.Generator
    ) -> Int[np.ndarray, " seq"]:
        fates = np.zeros(len(tokens), np.int64)
        text = np.flatnonzero(~np.isin(tokens, self.special))
        taken = np.roll(text, -int(rng.integers(max(1, len(text)))))[:: self.apart][:budget]
        fates[taken] = np.arange(1, len(taken) + 1)
        return fates
