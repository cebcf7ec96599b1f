"""Masks every n-th token, from a random position on.

(Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from etude import plugin, require
from etude.config import MaskingConfig
from etude.data import Tokenizer


@dataclass
class SketchConfig(MaskingConfig):
    stride: int = 3
    """Distance between masked tokens, in tokens; masking stops when the budget is used up."""

    def __post_init__(self) -> None:
        require(self.stride >= 1, f"stride must be at least 1, got {self.stride}")


@plugin(SketchConfig)
class Sketch:
    """For each position, the id of the group that is masked together; 0 = not selected."""

    def __init__(self, config: SketchConfig, tokenizer: Tokenizer) -> None:
        self.stride = config.stride
        self.special = sorted(tokenizer.vocab.special)

    def __call__(
        self, tokens: Int[np.ndarray, " seq"], budget: int, rng: np.random.Generator
    ) -> Int[np.ndarray, " seq"]:
        groups = np.zeros(len(tokens), np.int64)
        text = np.flatnonzero(~np.isin(tokens, self.special))
        chosen = np.roll(text, -int(rng.integers(max(1, len(text)))))[:: self.stride][:budget]
        groups[chosen] = np.arange(1, len(chosen) + 1)
        return groups
