"""Token masking: selects single tokens without replacement, each masked on its own.

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
    """No knobs: all text tokens are equally likely."""


@plugin(TokenConfig)
class Token:
    """(tokens, budget) -> per token, id of the group masked together; 0 = not selected."""

    def __init__(self, config: TokenConfig, tokenizer: Tokenizer) -> None:
        self.special = sorted(tokenizer.vocab.special)

    def __call__(
        self, tokens: Int[np.ndarray, " seq"], budget: int, rng: np.random.Generator
    ) -> Int[np.ndarray, " seq"]:
        groups = np.zeros(len(tokens), np.int64)
        text = np.flatnonzero(~np.isin(tokens, self.special))
        groups[rng.choice(text, budget, replace=False)] = np.arange(1, budget + 1)
        return groups
