"""A prompt and its completions in rows, in the shapes in use.

The prompt is text or messages, and each completion a text, a message of the assistant, or a whole
conversation that ends with it: as messages (UltraFeedback,
https://huggingface.co/datasets/HuggingFaceH4/ultrafeedback_binarized) or as a transcript (HH-RLHF).
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from etude import Chat, Message
from etude.data import BadFieldError

from ._messages import CONVERSATIONS, MessageReader, present

NEARLY_EQUAL = "two completions that differ only in case or white space are compared as they stand"


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


def refuse_equal(reader: MessageReader, completions: Sequence[str | Message]) -> None:
    """Raises BadFieldError for completions that are equal but for white space around them.

    A pair that differs only in case, or in white space inside, is noted.
    """
    for first, second in combinations(completions, 2):
        if first == second:
            raise BadFieldError("two completions are equal")
        texts = str(first), str(second)
        if _fields(first) != _fields(second):
            continue
        if texts[0].strip() == texts[1].strip():
            raise BadFieldError("two completions differ only in white space around them")
        if len({"".join(text.split()).casefold() for text in texts}) == 1:
            reader.row.notes.append(NEARLY_EQUAL)


def _fields(completion: str | Message) -> Any:
    return {} if isinstance(completion, str) else completion.fields


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
