"""The group `objective/corruption`: corrupts a text and builds the target that restores it."""

from abc import ABC, abstractmethod

import numpy as np
from jaxtyping import Int


class Corruption(ABC):
    """The group `objective/corruption`: corrupts a text and builds the target that restores it."""

    @abstractmethod
    def __call__(
        self, tokens: Int[np.ndarray, " n"], rng: np.random.Generator
    ) -> tuple[Int[np.ndarray, " input"], Int[np.ndarray, " target"]]:
        """Returns the corrupted input and the target, both without eos."""

    def raw_length(self, seq_len: int) -> int:
        """Returns the number of text tokens that fill `seq_len` once corrupted, with eos.

        Raises ConfigError if it cannot corrupt as many tokens as configured.
        """
        return seq_len - 1
