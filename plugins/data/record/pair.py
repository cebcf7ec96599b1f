"""A source and a target: translation, summary, instruction and answer."""

from dataclasses import dataclass

from etude import Pair, plugin
from etude.config import RecordConfig
from etude.data import Row

from ._shapes import ShapedReader


@dataclass
class PairColumns:
    source: str = "source"
    """The source text."""
    target: str = "target"
    """The target text."""


@dataclass
class PairRecordConfig(RecordConfig):
    """No knobs of its own."""


@plugin(
    PairRecordConfig,
    yields=Pair,
    columns=PairColumns,
    example={"data": "jsonl", "data.path": '{file}{"source": "Text #", "target": "text #"}'},
)
class PairReader(ShapedReader[PairRecordConfig, PairColumns]):
    """Yields both texts unchanged; no template is applied here."""

    def convert(self, row: Row) -> Pair:
        source = row.text(self.columns.source)
        return Pair(source, row.text(self.columns.target))
