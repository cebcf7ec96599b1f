"""Token masking for denoising: masks single tokens; the target is the whole text.

Lewis et al. 2019 (BART), https://arxiv.org/abs/1910.13461, section 2.2, after Devlin et al. 2018.
Deviation: the number of masked tokens is fixed, and every selected token is masked.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from etude import plugin, require
from etude.config import CorruptionConfig
from etude.data import Tokenizer
from etude.objective import Corruption


@dataclass
class TokenMaskingConfig(CorruptionConfig):
    mask_ratio: float = 0.15
    """Fraction of the tokens to mask, in (0, 1); at least one token."""

    def __post_init__(self) -> None:
        require(0 < self.mask_ratio < 1, f"mask_ratio must be in (0, 1), got {self.mask_ratio}")


@plugin(TokenMaskingConfig, tokens={"mask"})
class TokenMasking(Corruption):
    """tokens -> (tokens with some replaced by the mask, tokens)."""

    def __init__(self, config: TokenMaskingConfig, tokenizer: Tokenizer) -> None:
        self.ratio = config.mask_ratio
        self.mask = tokenizer.vocab.mask

    def __call__(
        self, tokens: Int[np.ndarray, " n"], rng: np.random.Generator
    ) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        source = tokens.copy()
        n_masked = max(1, round(self.ratio * len(tokens))) if len(tokens) else 0
        source[rng.permutation(len(tokens))[:n_masked]] = self.mask
        return source, tokens
