"""The group `objective/corruption`: how a text is damaged, and what restores it."""

from abc import ABC, abstractmethod

import numpy as np
from jaxtyping import Int


class Corruption(ABC):
    """The group `objective/corruption`: how a text is damaged, and what restores it."""

    @abstractmethod
    def __call__(
        self, tokens: Int[np.ndarray, " n"], rng: np.random.Generator
    ) -> tuple[Int[np.ndarray, " input"], Int[np.ndarray, " target"]]:
        """Returns what is read and what is to be written, both without eos."""

    def raw_length(self, seq_len: int) -> int:
        """Tokens of text that are damaged to `seq_len`, with eos; here the target is the text."""
        return seq_len - 1
