"""The base of the readers of rows: names the right reader for rows of another shape."""

from abc import abstractmethod
from collections.abc import Collection
from typing import TypeVar

from etude import Record
from etude.config import RecordConfig
from etude.data import BadFieldError, MissingFieldError, RecordReader, Row

C = TypeVar("C", bound=RecordConfig)
ColumnsT = TypeVar("ColumnsT")
SHAPES = (
    ({"chosen", "rejected"}, "preference"),
    ({"prompt", "completion", "label"}, "feedback"),
    ({"messages", "label"}, "feedback"),
    ({"conversations", "label"}, "feedback"),
    ({"prompt", "completions"}, "ranking"),
    ({"messages"}, "chat"),
    ({"conversations"}, "chat"),
    ({"prompt", "completion"}, "chat"),
    ({"instruction", "output", "history"}, "alpaca_chat"),
    ({"instruction", "output"}, "alpaca"),
    ({"source", "target"}, "pair"),
    ({"tokens", "tags"}, "tags"),
    ({"question", "context", "answers"}, "question"),
    ({"text", "label"}, "label"),
    ({"text", "rating"}, "rating"),
    ({"choices", "answer"}, "choice"),
    ({"prompt"}, "prompt"),
    ({"text"}, "text"),
)
"""The fields that mark the rows of a reader with its default columns, most specific first."""


def reader_of(fields: Collection[str]) -> str | None:
    """The reader for rows with these fields; None if it is not known."""
    return next((reader for shape, reader in SHAPES if shape <= set(fields)), None)


class ShapedReader(RecordReader[C, ColumnsT]):
    """Base of the readers of rows of a certain shape."""

    @abstractmethod
    def convert(self, row: Row) -> Record:
        """Returns the record of a row. Raises BadFieldError if the row is not a valid record."""

    def record(self, row: Row) -> Record:
        try:
            return self.convert(row)
        except MissingFieldError as error:
            reader = reader_of(row.fields)
            if reader is None or type(self).__module__.endswith(f".{reader}"):
                raise
            raise BadFieldError(f"{error}; data/record={reader} reads such rows") from error
