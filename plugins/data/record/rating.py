"""A text, or a pair of texts, and its rating, a number: stars, a similarity of the two."""

from dataclasses import dataclass

from etude import Labelled, plugin
from etude.config import RecordConfig
from etude.data import Row

from ._shapes import ShapedReader


@dataclass
class RatingColumns:
    text: str = "text"
    """The text."""
    rating: str = "rating"
    """The rating, a finite number; true is 1 and false is 0."""
    second: str | None = None
    """The second text of a pair, such as the other sentence of a similarity; null = none."""


@dataclass
class RatingRecordConfig(RecordConfig):
    """No knobs of its own."""


@plugin(
    RatingRecordConfig,
    yields=Labelled,
    columns=RatingColumns,
    example={"data": "jsonl", "data.path": '{file}{"text": "Text #.", "rating": #}'},
)
class RatingReader(ShapedReader[RatingRecordConfig, RatingColumns]):
    """Yields the number as it is; a scale such as 1 to 5 is not normalised."""

    def convert(self, row: Row) -> Labelled:
        second = None if self.columns.second is None else row.text(self.columns.second)
        return Labelled(row.text(self.columns.text), row.number(self.columns.rating), second)
