"""Counting aloud, from a number on: documents to see that something is learned.

(Name your own source here, and what you do otherwise.)
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from etude import Text, plugin, require
from etude.config import TextDataConfig
from etude.data import DataSource


@dataclass
class SketchConfig(TextDataConfig):
    n_documents: int = 500
    """Number of documents."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.n_documents >= 2, f"n_documents must be at least 2, got {self.n_documents}")


@plugin(SketchConfig, yields=Text)
class Sketch(DataSource[SketchConfig]):
    """Every document counts up from another number, in an order that is always the same."""

    def records(self) -> Iterator[Text]:
        draw = random.Random(0)
        for first in draw.sample(range(10 * self.config.n_documents), self.config.n_documents):
            yield Text(" ".join(str(first + i) for i in range(draw.randint(10, 40))))

    def fingerprint(self) -> str:
        """Of files it would be a digest; here the config says all."""
        return ""
