"""JSON Lines with one conversation per line: `messages` of role and content, or ShareGPT format.

For ShareGPT: data.messages_column=conversations data.role_column=from data.content_column=value.
"""

from dataclasses import dataclass
from typing import Any

from etude import Chat, Message, plugin
from etude.data import BadFieldError, FileConfig, JsonlSource, JsonRow, valid_text

ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}


@dataclass
class JsonlChatsConfig(FileConfig):
    messages_column: str = "messages"
    """Field with the list of messages."""
    role_column: str = "role"
    """Field of a message with its role: system, user (human) or assistant (gpt)."""
    content_column: str = "content"
    """Field of a message with its text."""


@plugin(JsonlChatsConfig, yields=Chat)
class JsonlChats(JsonlSource[JsonlChatsConfig]):
    """Rejects unknown roles and conversations without an assistant message."""

    def record(self, row: JsonRow) -> Chat:
        items = row.items(self.config.messages_column)
        messages = tuple(self.message(number, item) for number, item in enumerate(items, start=1))
        if all(message.role != "assistant" for message in messages):
            raise BadFieldError("no message has the role assistant")
        return Chat(messages)

    def message(self, number: int, item: Any) -> Message:
        """One message. Raises BadFieldError if it is malformed."""
        if not isinstance(item, dict):
            raise BadFieldError(f"message {number} must be an object")
        role = item.get(self.config.role_column)
        if not isinstance(role, str) or role not in ROLES:
            raise BadFieldError(f"message {number} has the unknown role {role!r}")
        content = item.get(self.config.content_column)
        return Message(ROLES[role], valid_text(content, f"the content of message {number}"))
