"""The group `objective/corruption`: how a text is corrupted, and what restores it."""

from abc import ABC, abstractmethod

import numpy as np
from jaxtyping import Int


class Corruption(ABC):
    """The group `objective/corruption`: how a text is corrupted, and what restores it."""

    @abstractmethod
    def __call__(
        self, tokens: Int[np.ndarray, " n"], rng: np.random.Generator
    ) -> tuple[Int[np.ndarray, " input"], Int[np.ndarray, " target"]]:
        """Returns the corrupted input and the target, both without eos."""

    def raw_length(self, seq_len: int) -> int:
        """Tokens of text that fill `seq_len` when corrupted, with eos; here, the target's."""
        return seq_len - 1
