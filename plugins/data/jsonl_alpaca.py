"""JSON lines in alpaca's form: an instruction, what it is about where there is that, an answer.

https://github.com/tatsu-lab/stanford_alpaca. Deviation: the sentences of alpaca's own
prompt are left out, for the template of the run says who speaks.
"""

from dataclasses import dataclass

from etude import Pair, plugin
from etude.data import FileConfig, JsonlSource, JsonRow


@dataclass
class JsonlAlpacaConfig(FileConfig):
    instruction_column: str = "instruction"
    """Field that holds what is to be done."""
    input_column: str = "input"
    """Field that holds what it is to be done with; it may be empty, null or missing."""
    output_column: str = "output"
    """Field that holds the answer."""


@plugin(JsonlAlpacaConfig, yields=Pair)
class JsonlAlpaca(JsonlSource[JsonlAlpacaConfig]):
    """The source is the instruction, an empty line and the input; without input, the first."""

    def record(self, row: JsonRow) -> Pair:
        instruction = row.text(self.config.instruction_column)
        given = row.fields.get(self.config.input_column)
        about = f"\n\n{row.text(self.config.input_column)}" if given else ""
        return Pair(instruction + about, row.text(self.config.output_column))
