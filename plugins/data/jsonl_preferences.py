"""JSON Lines with a prompt, a chosen and a rejected completion per row.

The prompt is text or messages. A completion is text, a message of the assistant, or a whole
conversation that ends with it: messages as in UltraFeedback, or a transcript as in HH-RLHF. With
whole conversations, rows need no prompt.
"""

from dataclasses import dataclass

from etude import Preference, plugin
from etude.data import BadFieldError, JsonRow

from ._completions import prompt_and_completions, refuse_equal
from ._messages import ConversationConfig, MessageReader
from ._shapes import RowSource


@dataclass
class JsonlPreferencesConfig(ConversationConfig):
    prompt_column: str = "prompt"
    """Field with the prompt."""
    chosen_column: str = "chosen"
    """Field with the better completion."""
    rejected_column: str = "rejected"
    """Field with the worse completion."""
    margin_column: str | None = None
    """Field with the margin of chosen over rejected, in reward units; null = margin 0."""
    probability_column: str | None = None
    """Field with the probability that chosen is better, 0.5 to 1; null = probability 1."""


@plugin(
    JsonlPreferencesConfig,
    yields=Preference,
    example={"path": '{file}{"prompt": "Count to #.", "chosen": "1, ..., #", "rejected": "no"}'},
)
class JsonlPreferences(RowSource[JsonlPreferencesConfig]):
    """Rejects rows whose two completions are equal."""

    def convert(self, row: JsonRow) -> Preference:
        config = self.config
        columns = config.chosen_column, config.rejected_column
        values = [(row.value(column), f"field {column!r}") for column in columns]
        reader = MessageReader(row, config)
        prompt, (chosen, rejected) = prompt_and_completions(reader, config.prompt_column, values)
        refuse_equal(reader, (chosen, rejected))
        margin = 0.0 if config.margin_column is None else row.number(config.margin_column)
        chance = 1.0 if config.probability_column is None else row.number(config.probability_column)
        if not 0.5 <= chance <= 1:
            raise BadFieldError(
                f"field {config.probability_column!r} must be in [0.5, 1], not {chance}: "
                "chosen is the completion that is more likely to be better"
            )
        return Preference(prompt, chosen, rejected, margin, chance)
