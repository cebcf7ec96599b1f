"""The fields of Alpaca's format, and the user's message that they make."""

from dataclasses import dataclass

from etude.data import Row


@dataclass
class AlpacaColumns:
    """Fields of the readers of Alpaca's format."""

    instruction: str = "instruction"
    """The instruction."""
    input: str = "input"
    """The input of the instruction; it may be empty, null or missing."""
    output: str = "output"
    """The answer."""


def instruction_of(row: Row, columns: AlpacaColumns) -> str:
    """The instruction, followed by a blank line and the input if there is one."""
    instruction = row.text(columns.instruction)
    has_input = bool(row.optional(columns.input))
    return instruction + (f"\n\n{row.text(columns.input)}" if has_input else "")
