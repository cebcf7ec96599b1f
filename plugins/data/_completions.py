"""A prompt and its completions in JSON rows, in the shapes in use.

The prompt is text or messages, and each completion a text, a message of the assistant, or a whole
conversation that ends with it: as messages (UltraFeedback,
https://huggingface.co/datasets/HuggingFaceH4/ultrafeedback_binarized) or as a transcript (HH-RLHF).
"""

from collections.abc import Sequence
from typing import Any

from etude import Chat, Message
from etude.data import BadFieldError

from ._messages import CONVERSATIONS, MessageReader, present


def prompt_and_completions(
    reader: MessageReader, prompt_column: str, values: Sequence[tuple[Any, str]]
) -> tuple[str | Chat, list[str | Message]]:
    """The prompt of a row, and the completions in its `values`, which have names for errors."""
    sides = [reader.messages(value, name, speaker="assistant") for value, name in values]
    for side, (_, name) in zip(sides, values, strict=True):
        if not side or side[-1].role != "assistant":
            raise BadFieldError(f"{name} must end with a message of the assistant")
    contexts = [side[:-1] for side in sides]
    if any(context != contexts[0] for context in contexts):
        raise BadFieldError("the completions answer different conversations")
    before = _before(reader, prompt_column, contexts[0])
    completions = [side[-1].content if not side[-1].fields else side[-1] for side in sides]
    return reader.prompt(before), completions


def _before(
    reader: MessageReader, column: str, context: tuple[Message, ...]
) -> tuple[Message, ...]:
    """The messages before the completions: in the prompt, or in each completion as `context`."""
    row = reader.row
    column = column if context else present(row, column, *CONVERSATIONS)
    if context and row.optional(column) is None:
        return context
    value = row.value(column)
    given = reader.messages(value, f"field {column!r}")
    if not context or context[: len(given)] == given:
        return context or given
    if isinstance(value, str) and given[-1] in context:
        return context
    raise BadFieldError(
        f"field {column!r} is not the start of the completions, and each of them is more than one "
        "message of the assistant"
    )
