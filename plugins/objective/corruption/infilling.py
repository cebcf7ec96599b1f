"""Text infilling: replaces each span of words with one mask; the target is the whole text.

Lewis et al. 2019 (BART), https://arxiv.org/abs/1910.13461, section 2.2. Lengths are Poisson and
counted in words; a length of 0 inserts a mask. Deviations: see `_noise.py`.
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
    """The same knobs as BART's final recipe, without rotation."""


@plugin(InfillingConfig, tokens={"mask"})
class Infilling(Corruption):
    """tokens -> (text with masks, text); a mask does not reveal how many tokens it hides."""

    def __init__(self, config: InfillingConfig, tokenizer: Tokenizer) -> None:
        self.config = config
        self.tokenizer = tokenizer

    def __call__(
        self, tokens: Int[np.ndarray, " n"], rng: np.random.Generator
    ) -> tuple[Int[np.ndarray, " input"], Int[np.ndarray, " n"]]:
        return infill(tokens, self.tokenizer, self.config, rng), tokens
