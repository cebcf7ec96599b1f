"""One document per row."""

from dataclasses import dataclass

from etude import Text, plugin
from etude.config import RecordConfig
from etude.data import Row

from ._shapes import ShapedReader


@dataclass
class TextColumns:
    text: str = "text"
    """The document."""


@dataclass
class TextRecordConfig(RecordConfig):
    """No knobs of its own."""


@plugin(
    TextRecordConfig,
    yields=Text,
    columns=TextColumns,
    example={"data": "jsonl", "data.path": '{file}{"text": "This is text #."}'},
)
class TextReader(ShapedReader[TextRecordConfig, TextColumns]):
    """Reads one field and ignores the others."""

    def convert(self, row: Row) -> Text:
        return Text(row.text(self.columns.text))
