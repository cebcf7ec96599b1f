"""Finds what a chat template leaves out of a conversation: fields, contents or tools.

A part is written if the text changes without it. Parts of the same kind, such as the name of every
tool message, are left out together; so a part that is written in one message counts as written.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from etude.data.rendering import Script, TemplateError, render
from etude.data.tokenizer import Tokenizer
from etude.records import Chat, Feedback, Message, Preference, Prompt, Ranking

CONTENT = "content"
PROBE = "x"
"""Added to a content to see whether the text changes."""


def unwritten(script: Script) -> tuple[set[int], list[str]]:
    """The assistant's messages that are not written as they are, and a reason for each lost part.

    A message is not written as it is if its tool calls are missing, or all that it consists of.
    """
    kinds: dict[tuple[Any, ...], list[int]] = {}
    for i, message in enumerate(script.messages):
        parts = [*message.fields]
        if message.content and (parts or message.role not in ("user", "assistant")):
            parts.append(CONTENT)
        for part in parts:
            kind = (part, message.role, bool(message.content), i == 0)
            kinds.setdefault(kind, []).append(i)
    damaged: set[int] = set()
    reasons: list[str] = []
    whole = script.text() if kinds or script.tools else ""
    for (part, role, *_), places in kinds.items():
        if _text_without(script, part, places) == whole:
            reasons += [f"{part} of messages of the role {role}"] * len(places)
            damaged.update(i for i in places if _is_gone(script.messages[i], part))
    if script.tools and _text(script, script.rows, ()) == whole:
        reasons.append("tools")
    return damaged, [f"the chat template does not write the {reason}" for reason in reasons]


def _is_gone(message: Message, part: str) -> bool:
    """Whether what is left of an assistant's message without this part must not be learned."""
    says_nothing = not message.content and "tool_calls" not in message.fields
    return message.role == "assistant" and (
        part == "tool_calls" or (part == "reasoning_content" and says_nothing)
    )


def unwritten_in(tokenizer: Tokenizer, sample: Any) -> list[str]:
    """A reason for each part of a record's prompt that the template leaves out."""
    if not isinstance(sample, Preference | Ranking | Feedback | Prompt):
        return []
    if not isinstance(sample.prompt, Chat):
        return []
    return unwritten(Script(tokenizer, sample.prompt.messages, sample.prompt.tools))[1]


def _text_without(script: Script, part: str, places: Sequence[int]) -> str | None:
    """The text with a part of some messages changed; None if the template rejects that."""
    rows = [dict(row) for row in script.rows]
    for i in places:
        if part == CONTENT:
            rows[i][CONTENT] += PROBE
        else:
            for name in (part, "thinking") if part == "reasoning_content" else (part,):
                del rows[i][name]
    return _text(script, rows, script.plain_tools)


def _text(script: Script, rows: Sequence[Mapping[str, Any]], tools: Sequence[Any]) -> str | None:
    try:
        return render(script.template, rows, script.tokenizer.literals, tools)
    except TemplateError:
        return None
