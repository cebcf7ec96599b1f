"""JSON Lines with one document per line."""

from dataclasses import dataclass

from etude import Text, plugin
from etude.config import TextDataConfig
from etude.data import FileConfig, JsonlSource, JsonRow


@dataclass
class JsonlConfig(FileConfig, TextDataConfig):
    text_column: str = "text"
    """Field with the document."""


@plugin(JsonlConfig, yields=Text)
class Jsonl(JsonlSource[JsonlConfig]):
    """Reads one column and ignores the others."""

    def record(self, row: JsonRow) -> Text:
        return Text(row.text(self.config.text_column))
