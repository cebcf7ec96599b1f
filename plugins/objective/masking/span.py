"""Span masking: selects runs of whole words, each masked as one group.

Joshi et al. 2019 (SpanBERT), https://arxiv.org/abs/1907.10529, section 3.1: lengths in words from a
geometric distribution truncated at `max_words`, mean 3.8; a start is drawn again if its word is
already selected. The span boundary objective is not included.
Deviations: words are never cut at the end of the budget: one that would exceed it ends the span, or
is skipped as a start; a span also ends before a selected word and at a special token; starts are
uniform over words, where theirs are uniform over tokens.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from etude import plugin, require
from etude.config import MaskingConfig
from etude.data import Tokenizer


@dataclass
class SpanConfig(MaskingConfig):
    p: float = 0.2
    """Probability that a span ends after each word, in (0, 1); smaller values give longer spans."""
    max_words: int = 10
    """Maximum span length, in words."""

    def __post_init__(self) -> None:
        require(0 < self.p < 1, f"p must be in (0, 1), got {self.p}")
        require(self.max_words >= 1, f"max_words must be at least 1, got {self.max_words}")


def length_shares(p: float, max_words: int) -> Float[np.ndarray, " max_words"]:
    """Probabilities of the lengths from 1 on: geometric, truncated and normalised."""
    shares = p * (1 - p) ** np.arange(max_words)
    return shares / shares.sum()


@plugin(SpanConfig)
class Span:
    """(tokens, budget) -> per token, id of the group masked together; 0 = not selected."""

    def __init__(self, config: SpanConfig, tokenizer: Tokenizer) -> None:
        self.shares = length_shares(config.p, config.max_words)
        self.tokenizer = tokenizer

    def __call__(
        self, tokens: Int[np.ndarray, " seq"], budget: int, rng: np.random.Generator
    ) -> Int[np.ndarray, " seq"]:
        words = self.tokenizer.words(tokens)
        starts = np.flatnonzero(np.diff(words, prepend=0) > 0)
        follows = words[starts - 1] == np.arange(len(starts))  # directly follows another word
        sizes = np.bincount(words)[1:]
        groups = np.zeros(len(starts) + 1, np.int64)
        for span, first in enumerate(rng.permutation(len(starts)), 1):
            if groups[first + 1]:
                continue
            n_words = 1 + rng.choice(len(self.shares), p=self.shares)
            for word in range(first, min(first + n_words, len(starts))):
                is_cut = word > first and not follows[word]
                if is_cut or groups[word + 1] or sizes[word] > budget:
                    break
                groups[word + 1] = span
                budget -= sizes[word]
        return groups[words]
