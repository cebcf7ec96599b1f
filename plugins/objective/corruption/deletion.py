"""Token deletion: removes single tokens and leaves no mask; the target is the whole text.

Lewis et al. 2019 (BART), https://arxiv.org/abs/1910.13461, section 2.2. Deviation: the number of
deleted tokens is fixed.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from etude import plugin, require
from etude.config import CorruptionConfig
from etude.data import Tokenizer
from etude.objective import Corruption


@dataclass
class DeletionConfig(CorruptionConfig):
    delete_ratio: float = 0.15
    """Fraction of the tokens to delete, in (0, 1); at least one, but never the only one."""

    def __post_init__(self) -> None:
        require(
            0 < self.delete_ratio < 1, f"delete_ratio must be in (0, 1), got {self.delete_ratio}"
        )


@plugin(DeletionConfig)
class Deletion(Corruption):
    """tokens -> (remaining tokens, tokens)."""

    def __init__(self, config: DeletionConfig, tokenizer: Tokenizer) -> None:
        self.ratio = config.delete_ratio

    def __call__(
        self, tokens: Int[np.ndarray, " n"], rng: np.random.Generator
    ) -> tuple[Int[np.ndarray, " input"], Int[np.ndarray, " n"]]:
        n = len(tokens)
        n_deleted = min(max(1, round(self.ratio * n)), n - 1) if n else 0
        kept = np.sort(rng.permutation(n)[n_deleted:])
        return tokens[kept], tokens
