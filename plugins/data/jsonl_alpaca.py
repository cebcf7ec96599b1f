"""JSON Lines in Alpaca format: an instruction, an optional input and an answer.

https://github.com/tatsu-lab/stanford_alpaca. Deviation: Alpaca's own prompt text is
left out, because the chat template of the run marks the speakers.
"""

from dataclasses import dataclass

from etude import Pair, plugin
from etude.data import FileConfig, JsonRow

from ._shapes import RowSource


@dataclass
class JsonlAlpacaConfig(FileConfig):
    instruction_column: str = "instruction"
    """Field with the instruction."""
    input_column: str = "input"
    """Field with the input of the instruction; it may be empty, null or missing."""
    output_column: str = "output"
    """Field with the answer."""


@plugin(
    JsonlAlpacaConfig,
    yields=Pair,
    example={"path": '{file}{"instruction": "Count to #.", "output": "1, ..., #"}'},
)
class JsonlAlpaca(RowSource[JsonlAlpacaConfig]):
    """The source is the instruction, followed by a blank line and the input if there is one."""

    def convert(self, row: JsonRow) -> Pair:
        instruction = row.text(self.config.instruction_column)
        has_input = bool(row.optional(self.config.input_column))
        text = f"\n\n{row.text(self.config.input_column)}" if has_input else ""
        return Pair(instruction + text, row.text(self.config.output_column))
