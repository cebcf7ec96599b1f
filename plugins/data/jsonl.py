"""JSON lines with a text in each: one document a line."""

from dataclasses import dataclass

from etude import plugin
from etude.readers import FileConfig, JsonlSource, Row
from etude.records import Text
from etude.schema import TextDataConfig


@dataclass
class JsonlConfig(FileConfig, TextDataConfig):
    text_column: str = "text"
    """Field that holds the document."""


@plugin(JsonlConfig, yields=Text)
class Jsonl(JsonlSource[JsonlConfig]):
    """Takes one column and leaves the others."""

    def record(self, row: Row) -> Text:
        return Text(row.text(self.config.text_column))
