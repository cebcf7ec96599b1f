"""The base of readers of JSON rows: names the right reader for rows of another shape."""

from abc import abstractmethod
from collections.abc import Collection
from typing import TypeVar

from etude import Record
from etude.data import BadFieldError, FileConfig, JsonlSource, JsonRow, MissingFieldError

C = TypeVar("C", bound=FileConfig)
SHAPES = (
    ({"chosen", "rejected"}, "jsonl_preferences"),
    ({"prompt", "completion", "label"}, "jsonl_feedback"),
    ({"messages", "label"}, "jsonl_feedback"),
    ({"conversations", "label"}, "jsonl_feedback"),
    ({"prompt", "completions"}, "jsonl_rankings"),
    ({"messages"}, "jsonl_chats"),
    ({"conversations"}, "jsonl_chats"),
    ({"prompt", "completion"}, "jsonl_chats"),
    ({"instruction", "output"}, "jsonl_alpaca"),
    ({"source", "target"}, "jsonl_pairs"),
    ({"text", "label"}, "jsonl_labels"),
    ({"prompt"}, "jsonl_prompts"),
    ({"text"}, "jsonl"),
)
"""The fields that mark the rows of a reader with its default columns, most specific first."""


def reader_of(fields: Collection[str]) -> str | None:
    """The reader for rows with these fields; None if it is not known."""
    return next((reader for shape, reader in SHAPES if shape <= set(fields)), None)


class RowSource(JsonlSource[C]):
    """Base of the plugins that read JSON rows of a certain shape."""

    @abstractmethod
    def convert(self, row: JsonRow) -> Record:
        """Returns the record of a row. Raises BadFieldError if the row is not a valid record."""

    def record(self, row: JsonRow) -> Record:
        try:
            return self.convert(row)
        except MissingFieldError as error:
            reader = reader_of(row.fields)
            if reader is None or type(self).__module__.endswith(f".{reader}"):
                raise
            raise BadFieldError(f"{error}; data={reader} reads such rows") from error
