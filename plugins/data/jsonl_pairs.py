"""JSON Lines with a source and a target per line: translation, summary, instruction and answer."""

from dataclasses import dataclass

from etude import Pair, plugin
from etude.data import FileConfig, JsonRow

from ._shapes import RowSource


@dataclass
class JsonlPairsConfig(FileConfig):
    source_column: str = "source"
    """Field with the source text."""
    target_column: str = "target"
    """Field with the target text."""


@plugin(
    JsonlPairsConfig,
    yields=Pair,
    example={"path": '{file}{"source": "Text #", "target": "text #"}'},
)
class JsonlPairs(RowSource[JsonlPairsConfig]):
    """Yields both texts unchanged; no template is applied here."""

    def convert(self, row: JsonRow) -> Pair:
        source = row.text(self.config.source_column)
        return Pair(source, row.text(self.config.target_column))
