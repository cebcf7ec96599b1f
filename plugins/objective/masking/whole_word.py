"""Whole-word masking: if a part of a word is to be predicted, all of it is.

Devlin et al. 2019, https://github.com/google-research/bert (README, "Whole Word Masking"); for
Chinese: Cui et al. 2019, https://arxiv.org/abs/1906.08101. Words are drawn in random order until
the budget is spent; one that would exceed it is passed over, so a short text may have none.
Deviations: words are those of `Tokenizer.words`, set apart by spaces whatever the tokenizer, so
that a byte-level one keeps a full stop with the word before it; a Chinese character is a word,
where Cui et al. ask a segmenter.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from jaxtyping import Int

from etude import plugin
from etude.config import MaskingConfig
from etude.data import Tokenizer


class Fate(Enum):
    """What it is decided for whether the mask, a random token or the token itself is shown."""

    token = "token"
    word = "word"


@dataclass
class WholeWordConfig(MaskingConfig):
    fate: Fate = Fate.token
    """What shares one fate (mask, random, kept): each token alone (BERT), or a word (fairseq)."""


@plugin(WholeWordConfig)
class WholeWord:
    """(tokens, budget) -> the number of the fate that each token shares, 0 where not selected."""

    def __init__(self, config: WholeWordConfig, tokenizer: Tokenizer) -> None:
        self.config = config
        self.tokenizer = tokenizer

    def __call__(
        self, tokens: Int[np.ndarray, " seq"], budget: int, rng: np.random.Generator
    ) -> Int[np.ndarray, " seq"]:
        words = self.tokenizer.words(tokens)
        chosen = taken(np.bincount(words)[1:], budget, rng)
        if self.config.fate is Fate.word:
            return chosen[words]
        fates = np.zeros(len(tokens), np.int64)
        places = np.flatnonzero(chosen[words])
        fates[places] = np.arange(1, len(places) + 1)
        return fates


def taken(
    sizes: Int[np.ndarray, " words"], budget: int, rng: np.random.Generator
) -> Int[np.ndarray, " words+1"]:
    """Takes words in random order while they fit into the budget, in tokens.

    Returns a number of its own for each word taken, 0 for the others; entry 0 is for what is no
    word.
    """
    chosen = np.zeros(len(sizes) + 1, np.int64)
    room = np.int64(budget)
    for number, word in enumerate(rng.permutation(len(sizes)), 1):
        if sizes[word] <= room:
            room -= sizes[word]
            chosen[word + 1] = number
    return chosen
