"""Sentence permutation: the sentences of a text in random order, the text is the target.

Lewis et al. 2019 (BART), https://arxiv.org/abs/1910.13461, section 2.2. Deviation: sentences end as
`Tokenizer.sentence_ends` says, where fairseq knows the full stop of GPT-2's vocabulary alone.
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
    """No knobs: every order of the sentences is as likely."""


@plugin(PermutationConfig)
class Permutation(Corruption):
    """tokens -> (the same sentences in another order, tokens)."""

    def __init__(self, config: PermutationConfig, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def __call__(
        self, tokens: Int[np.ndarray, " n"], rng: np.random.Generator
    ) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        return permute(tokens, self.tokenizer, rng), tokens
