"""JSON lines with a source and a target in each: translation, summary, instruction and answer."""

from dataclasses import dataclass

from etude import Pair, plugin
from etude.data import FileConfig, JsonlSource, JsonRow


@dataclass
class JsonlPairsConfig(FileConfig):
    source_column: str = "source"
    """Field that holds what is given."""
    target_column: str = "target"
    """Field that holds what it should become."""


@plugin(JsonlPairsConfig, yields=Pair)
class JsonlPairs(JsonlSource[JsonlPairsConfig]):
    """Both texts as they are; no template is applied here."""

    def record(self, row: JsonRow) -> Pair:
        source = row.text(self.config.source_column)
        return Pair(source, row.text(self.config.target_column))
