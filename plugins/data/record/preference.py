"""A prompt, a chosen and a rejected completion per row.

The prompt is text or messages. A completion is text, a message of the assistant, or a whole
conversation that ends with it: messages as in UltraFeedback, or a transcript as in HH-RLHF. With
whole conversations, rows need no prompt.
"""

from dataclasses import dataclass

from etude import Preference, plugin
from etude.config import RecordConfig
from etude.data import BadFieldError, Row

from ._completions import prompt_and_completions, refuse_equal
from ._messages import ConversationColumns, MessageReader
from ._shapes import ShapedReader


@dataclass
class PreferenceColumns(ConversationColumns):
    prompt: str = "prompt"
    """The prompt."""
    chosen: str = "chosen"
    """The better completion."""
    rejected: str = "rejected"
    """The worse completion."""
    margin: str | None = None
    """The margin of chosen over rejected, in reward units; null = margin 0."""
    probability: str | None = None
    """The probability that chosen is better, 0.5 to 1; null = probability 1."""


@dataclass
class PreferenceRecordConfig(RecordConfig):
    """No knobs of its own."""


@plugin(
    PreferenceRecordConfig,
    yields=Preference,
    columns=PreferenceColumns,
    example={
        "data": "jsonl",
        "data.path": '{file}{"prompt": "Count to #.", "chosen": "1, ..., #", "rejected": "no"}',
    },
)
class PreferenceReader(ShapedReader[PreferenceRecordConfig, PreferenceColumns]):
    """Rejects rows whose two completions are equal."""

    def convert(self, row: Row) -> Preference:
        columns = self.columns
        sides = columns.chosen, columns.rejected
        values = [(row.value(column), f"field {column!r}") for column in sides]
        reader = MessageReader(row, columns)
        prompt, (chosen, rejected) = prompt_and_completions(reader, columns.prompt, values)
        refuse_equal(reader, (chosen, rejected))
        margin = 0.0 if columns.margin is None else row.number(columns.margin)
        chance = 1.0 if columns.probability is None else row.number(columns.probability)
        if not 0.5 <= chance <= 1:
            raise BadFieldError(
                f"field {columns.probability!r} must be in [0.5, 1], not {chance}: "
                "chosen is the completion that is more likely to be better"
            )
        return Preference(prompt, chosen, rejected, margin, chance)
