"""Drops records with few distinct characters, such as lines of dashes.

(Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass

from etude import Record, plugin, require
from etude.config import FilterConfig
from etude.data import Drop, Filter, document_of


@dataclass
class SketchConfig(FilterConfig):
    min_characters: int = 5
    """Least number of distinct characters of a document, at least 1. Typical: 5-20."""

    def __post_init__(self) -> None:
        least = self.min_characters
        require(least >= 1, f"min_characters must be at least 1, got {least}")


@plugin(SketchConfig)
class Sketch(Filter[SketchConfig]):
    """Drops a record whose document has fewer than `min_characters` distinct characters."""

    per_record = True  # a decision needs no other record

    def decide(self, record: Record) -> Drop | None:
        n, least = len(set(document_of(record))), self.config.min_characters
        return Drop("few characters", n, least) if n < least else None
