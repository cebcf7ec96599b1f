"""Whole-word masking: selects all tokens of a word, or none of them.

Devlin et al. 2019, https://github.com/google-research/bert (README, "Whole Word Masking"); for
Chinese: Cui et al. 2019, https://arxiv.org/abs/1906.08101. Words are drawn in random order until
the budget is spent; one that would exceed it is skipped. Where all would, as in a short text, the
objective asks again with the size of the smallest, so a text with a word always has a target.
Deviations: words are those of `Tokenizer.words`, separated by spaces whatever the tokenizer, so a
byte-level one keeps a full stop with the word before it; a Chinese character is a word, where Cui
et al. use a segmenter.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from jaxtyping import Int

from etude import plugin
from etude.config import MaskingConfig
from etude.data import Tokenizer


class Unit(Enum):
    """The unit for which mask, random token or no change is decided."""

    token = "token"
    word = "word"


@dataclass
class WholeWordConfig(MaskingConfig):
    replacement_unit: Unit = Unit.token
    """Decide between mask, random and unchanged per token (BERT) or per word (fairseq)."""


@plugin(WholeWordConfig)
class WholeWord:
    """(tokens, budget) -> per token, id of the group masked together; 0 = not selected."""

    def __init__(self, config: WholeWordConfig, tokenizer: Tokenizer) -> None:
        self.config = config
        self.tokenizer = tokenizer

    def __call__(
        self, tokens: Int[np.ndarray, " seq"], budget: int, rng: np.random.Generator
    ) -> Int[np.ndarray, " seq"]:
        words = self.tokenizer.words(tokens)
        word_groups = select_words(np.bincount(words)[1:], budget, rng)
        if self.config.replacement_unit is Unit.word:
            return word_groups[words]
        groups = np.zeros(len(tokens), np.int64)
        places = np.flatnonzero(word_groups[words])
        groups[places] = np.arange(1, len(places) + 1)
        return groups


def select_words(
    sizes: Int[np.ndarray, " words"], budget: int, rng: np.random.Generator
) -> Int[np.ndarray, " words+1"]:
    """Selects words in random order while they fit in the budget, in tokens.

    Returns a distinct id for each selected word, 0 for the others; entry 0 stands for non-words.
    """
    groups = np.zeros(len(sizes) + 1, np.int64)
    n_left = np.int64(budget)
    for number, word in enumerate(rng.permutation(len(sizes)), 1):
        if sizes[word] <= n_left:
            n_left -= sizes[word]
            groups[word + 1] = number
    return groups
