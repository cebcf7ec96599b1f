"""JSON Lines, or a JSON array, with one document per row."""

from dataclasses import dataclass

from etude import Text, plugin
from etude.config import TextDataConfig
from etude.data import FileConfig, JsonRow

from ._shapes import RowSource


@dataclass
class JsonlConfig(FileConfig, TextDataConfig):
    text_column: str = "text"
    """Field with the document; dots lead to nested fields: `meta.body`."""


@plugin(JsonlConfig, yields=Text, example={"path": '{file}{"text": "This is text #."}'})
class Jsonl(RowSource[JsonlConfig]):
    """Reads one column and ignores the others."""

    def convert(self, row: JsonRow) -> Text:
        return Text(row.text(self.config.text_column))
