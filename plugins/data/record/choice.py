"""A question with several choices, as in ARC, MMLU, HellaSwag and files of lm-evaluation-harness.

Choices are a list of texts, a list of objects, or an object of lists: `text` and `label`. The
right one is given by its label, as an index from 0, as a letter from A, or by its text.
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from etude import Choice, plugin
from etude.config import RecordConfig
from etude.data import BadFieldError, Row, valid_text

from ._messages import ConversationColumns, MessageReader, present
from ._shapes import ShapedReader


@dataclass
class ChoiceColumns(ConversationColumns):
    prompt: str = "prompt"
    """The question; rows without it may have question, ctx or query instead."""
    choices: str = "choices"
    """The choices; rows without it may have endings or options instead."""
    answer: str = "answer"
    """The right choice; rows without it may have answerKey, gold or label instead."""


PROMPTS = "question", "ctx", "query"
CHOICES = "endings", "options"
ANSWERS = "answerKey", "gold", "label"


@dataclass
class ChoiceRecordConfig(RecordConfig):
    """No knobs of its own."""


@plugin(
    ChoiceRecordConfig,
    yields=Choice,
    columns=ChoiceColumns,
    example={
        "data": "jsonl",
        "data.path": '{file}{"prompt": "What is #?", "choices": ["#", "none"], "answer": 0}',
    },
)
class ChoiceReader(ShapedReader[ChoiceRecordConfig, ChoiceColumns]):
    """Rejects rows with fewer than two choices, or with equal ones."""

    def convert(self, row: Row) -> Choice:
        reader = MessageReader(row, self.columns)
        column = present(row, self.columns.prompt, *PROMPTS)
        prompt = reader.prompt(reader.messages(row.value(column), f"field {column!r}"))
        column = present(row, self.columns.choices, *CHOICES)
        labels, choices = _choices(row.value(column), f"field {column!r}")
        if len(choices) < 2 or len(set(choices)) < len(choices):
            raise BadFieldError(f"field {column!r} must have two or more different choices")
        column = present(row, self.columns.answer, *ANSWERS)
        right = _index(row.value(column), labels, choices)
        if right is None:
            named = ", ".join(map(repr, labels or string.ascii_uppercase[: len(choices)]))
            raise BadFieldError(
                f"field {column!r} must be an index from 0 to {len(choices) - 1}, one of {named}, "
                f"or the text of a choice, not {row.value(column)!r}"
            )
        return Choice(prompt, choices, right)


def _choices(value: Any, name: str) -> tuple[Sequence[str], tuple[str, ...]]:
    """The labels, if there are any, and the texts."""
    labels: Any = []
    if isinstance(value, dict):
        value, labels = value.get("text"), value.get("label", [])
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        labels = [item.get("label") for item in value]
        value = [item.get("text") for item in value]
    if not isinstance(value, list) or not isinstance(labels, list):
        raise BadFieldError(f"{name} must be a list of texts, or have text and label")
    texts = tuple(valid_text(item, f"choice {i} of {name}") for i, item in enumerate(value, 1))
    is_labelled = len(labels) == len(texts) and all(isinstance(one, str) for one in labels)
    return (labels if is_labelled else []), texts


def _index(answer: Any, labels: Sequence[str], choices: Sequence[str]) -> int | None:
    """The index of the right choice; None if the answer names none."""
    if isinstance(answer, str):
        for names in (labels, string.ascii_uppercase[: len(choices)], choices):
            if answer in names:
                return list(names).index(answer)
        answer = int(answer) if answer.isdecimal() else None
    if isinstance(answer, bool) or not isinstance(answer, int):
        return None
    return answer if 0 <= answer < len(choices) else None
