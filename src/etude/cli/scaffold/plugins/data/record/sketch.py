"""A question and its answer, as a source and a target.

(Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass

from etude import Pair, plugin
from etude.config import RecordConfig
from etude.data import RecordReader, Row


@dataclass
class SketchColumns:
    """The names of the fields; `data.columns.question=title` gives another name."""

    question: str = "question"
    """The question."""
    answer: str = "answer"
    """The answer."""


@dataclass
class SketchConfig(RecordConfig):
    """No knobs of its own."""


@plugin(
    SketchConfig,
    yields=Pair,
    columns=SketchColumns,
    example={"data": "jsonl", "data.path": '{file}{"question": "What is #?", "answer": "#"}'},
)
class Sketch(RecordReader[SketchConfig, SketchColumns]):
    """Rows of any container, whose other fields are counted as not used."""

    def record(self, row: Row) -> Pair:
        return Pair(row.text(self.columns.question), row.text(self.columns.answer))
