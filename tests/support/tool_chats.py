"""Conversations with tools, and chat templates of known models, which come with TRL."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from etude.records import Message

CHATML = {"turn_start": "<|im_start|>", "turn_end": "<|im_end|>"}
"""The turn tokens of Qwen's templates."""
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Paris <eos>"}}}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather, with ü and <eos>.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
SIDES = ("chosen", "rejected")
ROWS: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Weather in Paris?"},
    {"role": "assistant", "content": "", "reasoning_content": "Ask.", "tool_calls": [CALL]},
    {"role": "tool", "content": "sunny", "tool_call_id": "c1", "name": "weather"},
    {"role": "assistant", "content": "It is sunny."},
]


def write_conversations(file: Path, n: int = 30) -> Path:
    """Preferences over the answers to a second question, with a system prompt, as messages."""
    rows: list[dict[str, Any]] = []
    for i in range(n):
        before = [
            {"role": "system", "content": "s"},
            {"role": "user", "content": f"a{i}"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ]
        sides = {side: [*before, {"role": "assistant", "content": side[0] * 3}] for side in SIDES}
        rows.append({"prompt": before, "tools": [TOOL], **sides})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def template_of(name: str) -> str:
    """A template that comes with TRL."""
    spec = find_spec("trl")  # without importing it, which is slow
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "chat_templates" / f"{name}.jinja").read_text()


def message(row: dict[str, Any]) -> Message:
    """The message of a row."""
    fields = {key: value for key, value in row.items() if key not in ("role", "content")}
    return Message(row["role"], row["content"], fields)


MESSAGES = tuple(map(message, ROWS))
