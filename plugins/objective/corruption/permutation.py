"""Sentence permutation: shuffles the sentences of a text; the target is the original text.

Lewis et al. 2019 (BART), https://arxiv.org/abs/1910.13461, section 2.2. Deviation:
`Tokenizer.sentence_ends` finds the ends of sentences, where fairseq only knows the full stop of
GPT-2's vocabulary.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from etude import plugin
from etude.config import CorruptionConfig
from etude.data import Tokenizer
from etude.objective import Corruption

from ._noise import permute


@dataclass
class PermutationConfig(CorruptionConfig):
    """No knobs: all orders of the sentences are equally likely."""


@plugin(PermutationConfig)
class Permutation(Corruption):
    """tokens -> (the same sentences in random order, tokens)."""

    def __init__(self, config: PermutationConfig, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def __call__(
        self, tokens: Int[np.ndarray, " n"], rng: np.random.Generator
    ) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        return permute(tokens, self.tokenizer, rng), tokens
