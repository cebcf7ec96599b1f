"""Alpaca's format: an instruction, an optional input and an answer.

https://github.com/tatsu-lab/stanford_alpaca. Deviation: Alpaca's own prompt text is
left out, because the chat template of the run marks the speakers.
"""

from dataclasses import dataclass

from etude import Pair, plugin
from etude.config import RecordConfig
from etude.data import Row

from ._shapes import ShapedReader


@dataclass
class AlpacaColumns:
    instruction: str = "instruction"
    """The instruction."""
    input: str = "input"
    """The input of the instruction; it may be empty, null or missing."""
    output: str = "output"
    """The answer."""


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
        columns = self.columns
        instruction = row.text(columns.instruction)
        has_input = bool(row.optional(columns.input))
        text = f"\n\n{row.text(columns.input)}" if has_input else ""
        return Pair(instruction + text, row.text(columns.output))
