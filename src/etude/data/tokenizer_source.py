"""The contract of the group `tokenizer`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from etude.config.schema.plugins import TokenizerConfig
from etude.data.tokenizer import Tokenizer

TokenizerC = TypeVar("TokenizerC", bound=TokenizerConfig)


class TokenizerSource(ABC, Generic[TokenizerC]):
    """Contract of the group `tokenizer`: trains a tokenizer on a corpus, or loads one."""

    def __init__(self, config: TokenizerC) -> None:
        self.config = config

    @abstractmethod
    def build(self, corpus: Callable[[], Iterator[str]]) -> Tokenizer:
        """Returns the tokenizer; `corpus()` starts one pass over the training text.

        The same corpus gives the same tokenizer. A trained one has `SPECIAL_TOKENS` as its first
        ids, and its `vocab_size` counts them.
        """

    def fingerprint(self) -> str:
        """A digest of what determines the tokenizer besides its config and the corpus."""
        return ""
