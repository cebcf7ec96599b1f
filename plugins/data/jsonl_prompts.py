"""JSON Lines with a prompt and, optionally, a reference answer per row.

The prompt is text, or the messages before an answer of the assistant.
"""

from dataclasses import dataclass

from etude import Prompt, plugin
from etude.data import JsonRow

from ._messages import CONVERSATIONS, ConversationConfig, MessageReader, present
from ._shapes import RowSource


@dataclass
class JsonlPromptsConfig(ConversationConfig):
    prompt_column: str = "prompt"
    """Field with the prompt; rows without it may have messages or conversations instead."""
    answer_column: str = "answer"
    """Field with the reference answer."""


@plugin(
    JsonlPromptsConfig,
    yields=Prompt,
    example={"path": '{file}{"prompt": "Count to #.", "answer": "#"}'},
)
class JsonlPrompts(RowSource[JsonlPromptsConfig]):
    """The answer may be missing or null."""

    def convert(self, row: JsonRow) -> Prompt:
        reader = MessageReader(row, self.config)
        column = present(row, self.config.prompt_column, *CONVERSATIONS)
        prompt = reader.prompt(reader.messages(row.value(column), f"field {column!r}"))
        column = self.config.answer_column
        has_answer = row.optional(column) is not None
        return Prompt(prompt, row.text(column) if has_answer else None)
