"""A prompt and, optionally, a reference answer per row.

The prompt is text, or the messages before an answer of the assistant.
"""

from dataclasses import dataclass

from etude import Prompt, plugin
from etude.config import RecordConfig
from etude.data import Row

from ._messages import CONVERSATIONS, ConversationColumns, MessageReader, present
from ._shapes import ShapedReader


@dataclass
class PromptColumns(ConversationColumns):
    prompt: str = "prompt"
    """The prompt; rows without it may have messages or conversations instead."""
    answer: str = "answer"
    """The reference answer."""


@dataclass
class PromptRecordConfig(RecordConfig):
    """No knobs of its own."""


@plugin(
    PromptRecordConfig,
    yields=Prompt,
    columns=PromptColumns,
    example={"data": "jsonl", "data.path": '{file}{"prompt": "Count to #.", "answer": "#"}'},
)
class PromptReader(ShapedReader[PromptRecordConfig, PromptColumns]):
    """The answer may be missing or null."""

    def convert(self, row: Row) -> Prompt:
        reader = MessageReader(row, self.columns)
        column = present(row, self.columns.prompt, *CONVERSATIONS)
        prompt = reader.prompt(reader.messages(row.value(column), f"field {column!r}"))
        column = self.columns.answer
        has_answer = row.optional(column) is not None
        return Prompt(prompt, row.text(column) if has_answer else None)
