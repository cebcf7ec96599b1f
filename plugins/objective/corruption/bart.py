"""BART's final recipe: permutes all sentences, then masks spans of words.

Lewis et al. 2019, https://arxiv.org/abs/1910.13461, sections 2.2 and 4: 30 % of the words, in spans
of mean length 3. The order is fairseq's: permute, infill with insertions, rotate; a tenth of the
masks are random tokens, as in its recipes. Deviations: see `_noise.py`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from etude import plugin, require
from etude.data import Tokenizer
from etude.objective import Corruption

from ._noise import InfillConfig, infill, permute, rotate


@dataclass
class BartConfig(InfillConfig):
    rotate_share: float = 0.0
    """Fraction of the texts rotated to start at a random token, in [0, 1]; 0 in the recipe."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            0 <= self.rotate_share <= 1, f"rotate_share must be in [0, 1], got {self.rotate_share}"
        )


@plugin(BartConfig, tokens={"mask"})
class Bart(Corruption):
    """tokens -> (permuted text with masks, tokens)."""

    def __init__(self, config: BartConfig, tokenizer: Tokenizer) -> None:
        self.config = config
        self.tokenizer = tokenizer

    def __call__(
        self, tokens: Int[np.ndarray, " n"], rng: np.random.Generator
    ) -> tuple[Int[np.ndarray, " input"], Int[np.ndarray, " n"]]:
        source = permute(tokens, self.tokenizer, rng)
        source = infill(source, self.tokenizer, self.config, rng)
        if rng.random() < self.config.rotate_share:
            source = rotate(source, rng)
        return source, tokens
