"""Alpaca's format: an instruction, an optional input and an answer.

https://github.com/tatsu-lab/stanford_alpaca. Deviation: Alpaca's own prompt text is
left out, because the chat template of the run marks the speakers.
"""

from dataclasses import dataclass

from etude import Pair, plugin
from etude.config import RecordConfig
from etude.data import Row

from ._alpaca import AlpacaColumns, instruction_of
from ._shapes import ShapedReader


@dataclass
class AlpacaRecordConfig(RecordConfig):
    """No knobs of its own."""


@plugin(
    AlpacaRecordConfig,
    yields=Pair,
    columns=AlpacaColumns,
    example={
        "data": "jsonl",
        "data.path": '{file}{"instruction": "Count to #.", "output": "1, ..., #"}',
    },
)
class AlpacaReader(ShapedReader[AlpacaRecordConfig, AlpacaColumns]):
    """The source is the instruction, followed by a blank line and the input if there is one."""

    def convert(self, row: Row) -> Pair:
        return Pair(instruction_of(row, self.columns), row.text(self.columns.output))
