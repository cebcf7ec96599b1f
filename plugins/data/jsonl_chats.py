"""JSON Lines with one conversation per row: messages (OpenAI's format), or ShareGPT.

Or a prompt and a completion, as texts or messages; then only the completion is trained on, as in
TRL. Marks not to train on an answer are obeyed: weight=0, train=false, masked=true and others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from etude import Chat, Message, plugin
from etude.data import BadFieldError, JsonRow

from ._messages import CONVERSATIONS, UNANSWERED, ConversationConfig, MessageReader, present
from ._shapes import RowSource


@dataclass
class JsonlChatsConfig(ConversationConfig):
    messages_column: str | None = None
    """Field with the list of messages; null = messages, conversations, or prompt + completion."""
    role_column: str | None = None
    """Field of a message with its role: system, user (human), assistant (gpt) or tool; null = role
    or from."""
    content_column: str | None = None
    """Field of a message with its text; null = content or value."""


@plugin(
    JsonlChatsConfig,
    yields=Chat,
    example={
        "path": '{file}{"messages": [{"role": "user", "content": "Count to #."}, '
        '{"role": "assistant", "content": "1, ..., #"}]}'
    },
)
class JsonlChats(RowSource[JsonlChatsConfig]):
    """Rejects unknown roles and conversations without a message of the assistant."""

    def convert(self, row: JsonRow) -> Chat:
        reader = MessageReader(row, self.config, reads_marks=True)
        if self.config.role_column is not None:
            reader = replace(reader, role_fields=(self.config.role_column,))
        if self.config.content_column is not None:
            reader = replace(reader, content_fields=(self.config.content_column,))
        messages = self._messages(reader)
        if all(message.role != "assistant" for message in messages):
            raise BadFieldError("no message has the role assistant")
        if messages[-1].role != "assistant":
            reader.row.notes.append(UNANSWERED)
        return reader.chat(messages)

    def _messages(self, reader: MessageReader) -> Sequence[Message]:
        row = reader.row
        column = self.config.messages_column
        if column is None:
            column = present(row, *CONVERSATIONS, "completion")
            if column == "completion":
                prompt = reader.messages(row.value("prompt"), "field 'prompt'")
                said = reader.messages(row.value("completion"), "field 'completion'", "assistant")
                return [*(replace(message, learn=False) for message in prompt), *said]
        return reader.messages(row.value(column), f"field {column!r}")
