"""JSON Lines with a prompt, a completion and its label (true or false) or score per row.

The prompt is text or messages; the completion is text, a message, or the whole conversation.
"""

from dataclasses import dataclass

from etude import Feedback, plugin
from etude.data import JsonRow

from ._completions import prompt_and_completions
from ._messages import CONVERSATIONS, ConversationConfig, MessageReader, present
from ._shapes import RowSource


@dataclass
class JsonlFeedbackConfig(ConversationConfig):
    prompt_column: str = "prompt"
    """Field with the prompt."""
    completion_column: str = "completion"
    """Field with the completion; rows without it may have messages or conversations instead."""
    score_column: str = "label"
    """Field with the label or the score."""


@plugin(
    JsonlFeedbackConfig,
    yields=Feedback,
    example={"path": '{file}{"prompt": "Count to #.", "completion": "1, ..., #", "label": true}'},
)
class JsonlFeedback(RowSource[JsonlFeedbackConfig]):
    """Converts true to a score of 1 and false to 0."""

    def convert(self, row: JsonRow) -> Feedback:
        config = self.config
        reader = MessageReader(row, config)
        column = present(row, config.completion_column, *CONVERSATIONS)
        values = [(row.value(column), f"field {column!r}")]
        prompt, (completion,) = prompt_and_completions(reader, config.prompt_column, values)
        return Feedback(prompt, completion, row.number(config.score_column))
