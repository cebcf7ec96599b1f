"""Noise for denoising objectives: permuted sentences and masked spans of words.

Lewis et al. 2019 (BART), https://arxiv.org/abs/1910.13461, section 2.2, with the choices of
fairseq's `denoising_dataset.py`. Deviation: in fairseq, a span that reaches another merges with it,
so less than the budget is masked. Here spans do not overlap, all arrangements of spans and other
words are equally likely, and exactly the budget is masked.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from etude import require
from etude.config import CorruptionConfig
from etude.data import Tokenizer


@dataclass
class InfillConfig(CorruptionConfig):
    """Base config of the corruptions that replace each span of words with one mask."""

    mask_ratio: float = 0.3
    """Fraction of the words to mask, rounded up, in (0, 1)."""
    mean_span: float = 3.0
    """Mean span length in words, Poisson distributed; at least 1."""
    random_share: float = 0.1
    """Fraction of the masks that are a random token instead, in [0, 1]."""

    def __post_init__(self) -> None:
        require(0 < self.mask_ratio < 1, f"mask_ratio must be in (0, 1), got {self.mask_ratio}")
        require(self.mean_span >= 1, f"mean_span must be at least 1, got {self.mean_span}")
        require(
            0 <= self.random_share <= 1, f"random_share must be in [0, 1], got {self.random_share}"
        )


def span_lengths(budget: int, mean: float, rng: np.random.Generator) -> Int[np.ndarray, " spans"]:
    """Returns Poisson lengths that add up to the budget, the last one trimmed.

    A length of 0 masks no words: it inserts a mask. Lengths of 0 are dropped while there are more
    spans than masked words.
    """
    lengths = rng.poisson(mean, budget)
    while lengths.sum() < budget:
        lengths = np.append(lengths, rng.poisson(mean, budget))
    n = int(np.searchsorted(lengths.cumsum(), budget)) + 1
    lengths = lengths[:n]
    lengths[-1] -= lengths.sum() - budget
    surplus = np.flatnonzero(lengths == 0)[: max(0, n - budget)]
    return rng.permutation(np.delete(lengths, surplus))


def infill(
    tokens: Int[np.ndarray, " n"],
    tokenizer: Tokenizer,
    config: InfillConfig,
    rng: np.random.Generator,
) -> Int[np.ndarray, " input"]:
    """Returns the text with each masked span of words replaced by one token; it is never longer."""
    words = tokenizer.words(tokens)
    if len(words) == 0:
        return tokens
    n_words = int(words[-1])
    lengths = span_lengths(math.ceil(config.mask_ratio * n_words), config.mean_span, rng)
    sizes = np.ones(n_words - lengths.sum() + len(lengths), np.int64)  # words in each piece
    masked = np.sort(rng.choice(len(sizes), len(lengths), replace=False))
    sizes[masked] = lengths
    places = np.searchsorted(words, np.cumsum(sizes)[:-1], side="right")
    pieces = np.split(tokens, places)
    random = rng.random(len(masked)) < config.random_share
    masks = np.where(random, rng.choice(tokenizer.text_ids, len(masked)), tokenizer.vocab.mask)
    for piece, token in zip(masked, masks, strict=True):
        pieces[piece] = np.array([token])
    return np.concatenate(pieces)


def permute(
    tokens: Int[np.ndarray, " n"], tokenizer: Tokenizer, rng: np.random.Generator
) -> Int[np.ndarray, " n"]:
    """Returns the sentences of a text in random order."""
    if len(tokens) == 0:
        return tokens
    sentences = np.split(tokens, tokenizer.sentence_ends(tokens)[:-1])
    return np.concatenate([sentences[i] for i in rng.permutation(len(sentences))])


def rotate(tokens: Int[np.ndarray, " n"], rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """Returns the text rotated to start at a random token."""
    return np.roll(tokens, -rng.integers(len(tokens))) if len(tokens) else tokens
