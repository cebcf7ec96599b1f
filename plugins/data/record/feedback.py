"""A prompt, a completion and its label (true or false) or score per row.

The prompt is text or messages; the completion is text, a message, or the whole conversation.
"""

from dataclasses import dataclass

from etude import Feedback, plugin
from etude.config import RecordConfig
from etude.data import Row

from ._completions import prompt_and_completions
from ._messages import CONVERSATIONS, ConversationColumns, MessageReader, present
from ._shapes import ShapedReader


@dataclass
class FeedbackColumns(ConversationColumns):
    prompt: str = "prompt"
    """The prompt."""
    completion: str = "completion"
    """The completion; rows without it may have messages or conversations instead."""
    score: str = "label"
    """The label or the score."""


@dataclass
class FeedbackRecordConfig(RecordConfig):
    """No knobs of its own."""


@plugin(
    FeedbackRecordConfig,
    yields=Feedback,
    columns=FeedbackColumns,
    example={
        "data": "jsonl",
        "data.path": '{file}{"prompt": "Count to #.", "completion": "1, ..., #", "label": true}',
    },
)
class FeedbackReader(ShapedReader[FeedbackRecordConfig, FeedbackColumns]):
    """Converts true to a score of 1 and false to 0."""

    def convert(self, row: Row) -> Feedback:
        columns = self.columns
        reader = MessageReader(row, columns)
        column = present(row, columns.completion, *CONVERSATIONS)
        values = [(row.value(column), f"field {column!r}")]
        prompt, (completion,) = prompt_and_completions(reader, columns.prompt, values)
        return Feedback(prompt, completion, row.number(columns.score))
