"""Character-level tokenizer; rare characters become <unk>, so it is not lossless.

(Replace this with your source and your deviations from it.)
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from etude import plugin, require
from etude.config import TokenizerConfig
from etude.data import SPECIAL_TOKENS, Tokenizer, TokenizerSource


@dataclass
class SketchConfig(TokenizerConfig):
    min_count: int = 2
    """Minimum number of occurrences for a character to be in the vocabulary."""

    def __post_init__(self) -> None:
        require(self.min_count >= 1, f"min_count must be at least 1, got {self.min_count}")


@plugin(SketchConfig)
class Sketch(TokenizerSource[SketchConfig]):
    """The vocabulary is the special tokens, then the characters sorted by code point."""

    def build(self, corpus: Callable[[], Iterator[str]]) -> Tokenizer:
        counts = Counter(character for text in corpus() for character in text)
        known = sorted(c for c, n in counts.items() if n >= self.config.min_count)
        vocabulary = {token: i for i, token in enumerate((*SPECIAL_TOKENS, *known))}
        inner = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        inner.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
        inner.decoder = decoders.Fuse()
        return Tokenizer(inner)
