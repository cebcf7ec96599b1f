"""Text infilling: spans of words give way to one mask each, the whole text is the target.

Lewis et al. 2019 (BART), https://arxiv.org/abs/1910.13461, section 2.2. Lengths are Poisson and
counted in words; a length of 0 inserts a mask. See `_noise.py` for what deviates.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from etude import plugin
from etude.data import Tokenizer
from etude.objective import Corruption

from ._noise import InfillConfig, infill


@dataclass
class InfillingConfig(InfillConfig):
    """The knobs that BART's final recipe shares."""


@plugin(InfillingConfig)
class Infilling(Corruption):
    """tokens -> (text with masks, text): how many tokens a mask hides is not told."""

    def __init__(self, config: InfillingConfig, tokenizer: Tokenizer) -> None:
        self.config = config
        self.tokenizer = tokenizer

    def __call__(
        self, tokens: Int[np.ndarray, " n"], rng: np.random.Generator
    ) -> tuple[Int[np.ndarray, " input"], Int[np.ndarray, " n"]]:
        return infill(tokens, self.tokenizer, self.config, rng), tokens
