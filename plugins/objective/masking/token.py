"""Token masking: single tokens, drawn without replacement, each with a fate of its own.

Devlin et al. 2018 (BERT), https://arxiv.org/abs/1810.04805, section 3.1.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from etude import plugin
from etude.config import MaskingConfig
from etude.data import Tokenizer


@dataclass
class TokenConfig(MaskingConfig):
    """No knobs: every token of text is as likely as any other."""


@plugin(TokenConfig)
class Token:
    """(tokens, budget) -> the number of the fate that each token shares, 0 where not selected."""

    def __init__(self, config: TokenConfig, tokenizer: Tokenizer) -> None:
        self.special = sorted(tokenizer.vocab.special)

    def __call__(
        self, tokens: Int[np.ndarray, " seq"], budget: int, rng: np.random.Generator
    ) -> Int[np.ndarray, " seq"]:
        fates = np.zeros(len(tokens), np.int64)
        text = np.flatnonzero(~np.isin(tokens, self.special))
        fates[rng.choice(text, budget, replace=False)] = np.arange(1, budget + 1)
        return fates
