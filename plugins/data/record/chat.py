"""One conversation per row: messages (OpenAI's format), or ShareGPT.

Or a prompt and a completion, as texts or messages; then only the completion is trained on, as in
TRL. Marks not to train on an answer are obeyed: weight=0, train=false, masked=true and others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from etude import Chat, Message, plugin
from etude.config import RecordConfig
from etude.data import BadFieldError, Row

from ._messages import CONVERSATIONS, UNANSWERED, ConversationColumns, MessageReader, present
from ._shapes import ShapedReader


@dataclass
class ChatColumns(ConversationColumns):
    messages: str | None = None
    """The list of messages; null = messages, conversations, or prompt and completion."""
    role: str | None = None
    """Role of a message: system, user (human), assistant (gpt) or tool; null = role or from."""
    content: str | None = None
    """Text of a message; null = content or value."""


@dataclass
class ChatRecordConfig(RecordConfig):
    """No knobs of its own."""


@plugin(
    ChatRecordConfig,
    yields=Chat,
    columns=ChatColumns,
    example={
        "data": "jsonl",
        "data.path": '{file}{"messages": [{"role": "user", "content": "Count to #."}, '
        '{"role": "assistant", "content": "1, ..., #"}]}',
    },
)
class ChatReader(ShapedReader[ChatRecordConfig, ChatColumns]):
    """Rejects unknown roles and conversations without a message of the assistant."""

    def convert(self, row: Row) -> Chat:
        reader = MessageReader(row, self.columns, reads_marks=True)
        if self.columns.role is not None:
            reader = replace(reader, role_fields=(self.columns.role,))
        if self.columns.content is not None:
            reader = replace(reader, content_fields=(self.columns.content,))
        messages = self._messages(reader)
        if all(message.role != "assistant" for message in messages):
            raise BadFieldError("no message has the role assistant")
        if messages[-1].role != "assistant":
            reader.row.notes.append(UNANSWERED)
        return reader.chat(messages)

    def _messages(self, reader: MessageReader) -> Sequence[Message]:
        row = reader.row
        column = self.columns.messages
        if column is None:
            column = present(row, *CONVERSATIONS, "completion")
            if column == "completion":
                prompt = reader.messages(row.value("prompt"), "field 'prompt'")
                said = reader.messages(row.value("completion"), "field 'completion'", "assistant")
                return [*(replace(message, learn=False) for message in prompt), *said]
        return reader.messages(row.value(column), f"field {column!r}")
