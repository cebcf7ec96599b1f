"""Synthetic documents that count up from a random number, to check that training works.

(Replace this with your source and your deviations from it.)
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
    """Documents in a fixed order, each counting up from a different number."""

    def records(self) -> Iterator[Text]:
        draw = random.Random(0)
        for first in draw.sample(range(10 * self.config.n_documents), self.config.n_documents):
            yield Text(" ".join(str(first + i) for i in range(draw.randint(10, 40))))

    def fingerprint(self) -> str:
        """Empty, as the config determines the data; for files, return a digest of their content."""
        return ""
