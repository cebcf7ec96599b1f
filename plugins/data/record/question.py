"""A question, a text, and the parts of the text that answer the question.

SQuAD's fields as `datasets` has them: Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250; a
question without an answer has empty lists: Rajpurkar et al. 2018, https://arxiv.org/abs/1806.03822.
"""

from dataclasses import dataclass
from typing import Any

from etude import Question, plugin
from etude.config import RecordConfig
from etude.data import BadFieldError, Row

from ._shapes import ShapedReader


@dataclass
class QuestionColumns:
    question: str = "question"
    """The question."""
    context: str = "context"
    """The text that may answer it."""
    answers: str = "answers"
    """Answers: an object with the lists text and answer_start, or a list of such objects."""


@dataclass
class QuestionRecordConfig(RecordConfig):
    """No knobs of its own."""


@plugin(
    QuestionRecordConfig,
    yields=Question,
    columns=QuestionColumns,
    example={
        "data": "jsonl",
        "data.path": '{file}{"question": "Which number?", "context": "It is #.", '
        '"answers": {"text": ["#"], "answer_start": [6]}}',
    },
)
class QuestionReader(ShapedReader[QuestionRecordConfig, QuestionColumns]):
    """Rejects rows with an answer that is not in the text where the row has it."""

    def convert(self, row: Row) -> Question:
        columns = self.columns
        question, context = row.text(columns.question), row.text(columns.context)
        value = row.value(columns.answers)
        pairs = [(one.get("text"), one.get("answer_start")) for one in _objects(value)]
        answers = [pair for texts, starts in pairs for pair in _zipped(texts, starts)]
        for text, start in answers:
            if not text or context[start : start + len(text)] != text:
                raise BadFieldError(
                    f"the answer {text!r} is not at character {start} of the context, which has "
                    f"{context[start : start + len(text)]!r} there"
                )
        return Question(
            question, context, tuple(t for t, _ in answers), tuple(s for _, s in answers)
        )


def _objects(value: Any) -> list[dict[str, Any]]:
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, dict) for item in items):
        raise BadFieldError("answers must be objects with text and answer_start")
    return items


def _zipped(texts: Any, starts: Any) -> list[tuple[str, int]]:
    """The texts with their positions, each of them a list or one value."""
    sides = [side if isinstance(side, list) else [side] for side in (texts, starts)]
    if len(sides[0]) != len(sides[1]):
        raise BadFieldError(f"{len(sides[0])} answers, but {len(sides[1])} positions")
    pairs = list(zip(*sides, strict=True))
    if not all(isinstance(t, str) and type(s) is int and s >= 0 for t, s in pairs):
        raise BadFieldError("text must be text, and answer_start a position in characters, from 0")
    return pairs
