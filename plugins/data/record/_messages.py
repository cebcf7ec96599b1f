"""Messages in rows, in the shapes in use: a list of messages, one, a transcript, or a text.

A message has `role` and `content`, or `from` and `value` (ShareGPT); a transcript marks its turns
as HH-RLHF does (https://arxiv.org/abs/2204.05862). What chat templates know of a message is kept,
such as tool_calls; other fields are counted.

System messages are kept where they stand, and it is up to the chat template to write or to reject
them; one after the first message is noted in the data card. An empty system message is none. Any
order of roles is kept, and noted if it is unusual: docs/data.md has the rules.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from etude import TOOL_ROLES, Chat, Message
from etude.data import BadFieldError, Row, valid_text

CALL_ROLES = ("function_call", "tool_call")
"""Roles of a message whose content is a call of the assistant, as JSON."""
ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", *CALL_ROLES), "assistant"),
    **dict.fromkeys(("tool_response", "function_response"), "tool"),
    **{role: role for role in TOOL_ROLES},
}
NAMES = {"thinking": "reasoning_content", "reasoning": "reasoning_content"} | {
    name: name for name in ("tool_calls", "tool_call_id", "name", "reasoning_content")
}
"""Fields that chat templates know, by every name in use; transformers has the same aliases."""
MARKS = dict.fromkeys(
    ("weight", "train", "training", "trainable", "loss", "loss_mask", "loss_weight"), True
) | dict.fromkeys(("mask", "masked"), False)
"""Fields that say whether to train on a message, and whether 1 means yes: OpenAI's and Mistral's
weight, axolotl's train, verl's loss_mask, ms-swift's loss, torchtune's masked, and others."""
CONVERSATIONS = ("messages", "conversations")
"""Names of the field with the messages of a row."""
LATE_SYSTEM = "a system message after the first message is kept where it stands"
ASSISTANT_FIRST = "a conversation that the assistant begins is read as it stands"
SAME_ROLE = "two messages in a row of the same role are kept, and not joined"
UNANSWERED = "the messages after the last answer are rendered and not learned"
TURN = re.compile(r"\n\n(Human|Assistant):")


@dataclass
class ConversationColumns:
    """Fields of the readers of conversations."""

    system: str | None = "system"
    """A system prompt, which rows may lack; null = it is not used."""
    tools: str | None = "tools"
    """The JSON schemas of tools, which rows may lack; null = it is not used."""


@dataclass(frozen=True)
class MessageReader:
    """Reads the messages of a row, and counts what is not used of them."""

    row: Row
    columns: ConversationColumns
    role_fields: Sequence[str] = ("role", "from")
    content_fields: Sequence[str] = ("content", "value")
    reads_marks: bool = False
    """Whether marks not to train on a message are obeyed; only conversations have trained turns."""

    def messages(self, value: Any, name: str, speaker: str = "user") -> tuple[Message, ...]:
        """The messages in a value, a text being a transcript or the message of `speaker`."""
        if isinstance(value, str):
            return _transcript(value) or (Message(speaker, valid_text(value, name)),)
        items = [value] if isinstance(value, dict) else value
        if not isinstance(items, list) or not items:
            raise BadFieldError(f"{name} must be text or a non-empty list of messages")
        found = [self._message(item, f"message {i} of {name}") for i, item in enumerate(items, 1)]
        return tuple(message for message in found if message is not None)

    def chat(self, messages: Sequence[Message]) -> Chat:
        """A conversation, with the system prompt and the tools of the row."""
        column = self.columns.system
        system = _text(self._optional(column), f"field {column!r}")
        if system:
            first = Message("system", system)
            messages = [first, *(m for m in messages if m != first)]
        if any(message.role == "system" for message in messages[1:]):
            self.row.notes.append(LATE_SYSTEM)
        roles = [message.role for message in messages if message.role != "system"]
        if roles[:1] == ["assistant"]:
            self.row.notes.append(ASSISTANT_FIRST)
        if any(a == b and a not in TOOL_ROLES for a, b in pairwise(roles)):
            self.row.notes.append(SAME_ROLE)
        column = self.columns.tools
        tools = self._optional(column)
        if isinstance(tools, str):
            tools = _json(tools, f"field {column!r}")
        if not isinstance(tools, list | None) or not all(isinstance(t, dict) for t in tools or ()):
            raise BadFieldError(f"field {column!r} must be a list of JSON schemas")
        return Chat(tuple(messages), tuple(_valid(tools or [], f"field {column!r}")))

    def prompt(self, messages: Sequence[Message]) -> str | Chat:
        """A prompt; only the text if it is a single message of the user."""
        if not messages or messages[-1].role == "assistant":
            raise BadFieldError("the prompt must end with a message that the assistant answers")
        chat = self.chat(messages)
        text = chat.messages[0].content
        return text if chat == Chat((Message("user", text),)) else chat

    def _optional(self, column: str | None) -> Any:
        return None if column is None else self.row.optional(column)

    def _message(self, item: Any, name: str) -> Message | None:
        """One message; None for an empty system message."""
        if not isinstance(item, dict):
            raise BadFieldError(f"{name} must be an object")
        given = _first(item, self.role_fields)
        if not isinstance(given, str) or given not in ROLES:
            raise BadFieldError(f"{name} has the unknown role {given!r}")
        role = ROLES[given]
        content = _text(_first(item, self.content_fields), f"the content of {name}")
        fields = {NAMES[key]: value for key, value in item.items() if key in NAMES and value}
        call = _json(content, name) if given in CALL_ROLES else item.get("function_call")
        if call:
            calls = call if isinstance(call, list) else [call]
            fields["tool_calls"] = [{"type": "function", "function": one} for one in calls]
            content = "" if given in CALL_ROLES else content
        if not content and role == "system":
            return None
        if not content and role not in TOOL_ROLES and not {*fields} - {"name", "tool_call_id"}:
            raise BadFieldError(f"the content of {name} is empty")
        self._count_unknown(item)
        return Message(role, content, _valid(fields, name), self._learn(item, role, name))

    def _learn(self, item: dict[str, Any], role: str, name: str) -> bool:
        learn = True
        for key, one_means_yes in MARKS.items():
            if not self.reads_marks or (value := item.get(key)) is None:
                continue
            if value not in (0, 1):
                raise BadFieldError(f"{key} of {name} must be 1 or 0, true or false, not {value!r}")
            if (value == 1) != one_means_yes:
                learn = False
            elif role != "assistant":
                self._unused(f"{key}={json.dumps(value)} of the role {role}, which is not learned")
        return learn

    def _count_unknown(self, item: dict[str, Any]) -> None:
        known = {*self.role_fields, *self.content_fields, *NAMES, "function_call"}
        known |= MARKS.keys() if self.reads_marks else set()
        for key, value in item.items():
            if key not in known and value is not None:
                self._unused(f"message field {key!r}")

    def _unused(self, part: str) -> None:
        if part not in self.row.unused_parts:  # counted once for each row
            self.row.unused_parts.append(part)


def present(row: Row, *columns: str) -> str:
    """The first of some columns that a row has; the first of all if it has none."""
    return next((column for column in columns if row.optional(column) is not None), columns[0])


def _first(item: dict[str, Any], keys: Sequence[str]) -> Any:
    return next((item[key] for key in keys if item.get(key) is not None), None)


def _text(value: Any, name: str) -> str:
    """A text, or the parts of one as OpenAI has them; empty if there is none."""
    if isinstance(value, list):
        if not all(isinstance(part, dict) and part.get("type") == "text" for part in value):
            raise BadFieldError(f"{name} has a part that is not text")
        value = "".join(str(part.get("text")) for part in value)
    is_empty = value is None or (isinstance(value, str) and not value.strip())
    return "" if is_empty else valid_text(value, name)


def _transcript(text: str) -> tuple[Message, ...]:
    """The messages of a transcript, without an empty last one; none if the text is not one."""
    if not text.startswith("\n\nHuman:"):
        return ()
    parts = [part.strip() for part in TURN.split(text)[1:]]
    turns = list(zip(parts[::2], parts[1::2], strict=True))
    turns = turns if turns[-1][1] else turns[:-1]
    names = {"Human": "user", "Assistant": "assistant"}
    return tuple(Message(names[who], valid_text(said, "a turn")) for who, said in turns)


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadFieldError(f"{name} is not JSON: {error}") from error


def _valid(value: Any, name: str) -> Any:
    """A JSON value whose texts are valid."""
    valid_text(json.dumps(value, ensure_ascii=False), name)
    return value
