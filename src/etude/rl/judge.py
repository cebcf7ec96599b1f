"""Judges: which of two answers to a prompt is the better one, as a probability.

Lee et al. 2023 (RLAIF), https://arxiv.org/abs/2309.00267, sections 2.1 and 2.3: a language model
favours a place, so it is asked in both orders and the two are averaged. Of plain verdicts that
makes a tie where the orders disagree.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from etude.config.schema.plugins import require
from etude.files import cache
from etude.files.atomic import write_whole

QUESTION = """\
Which of two answers to the same request is better: more correct, more helpful, better written?

Request:
{prompt}

Answer A:
{first}

Answer B:
{second}

Reply with one letter, A or B, and nothing else. The better answer is"""
"""What a language model is asked where the user does not say otherwise."""


@dataclass(frozen=True)
class Comparison:
    """Two answers to a prompt, in the order in which they are shown."""

    prompt: str
    first: str
    second: str
    reference: str | None = None

    @property
    def swapped(self) -> "Comparison":
        """The same in the other order."""
        return Comparison(self.prompt, self.second, self.first, self.reference)

    def written(self, question: str) -> str:
        """The question that puts it to a language model."""
        return question.format(prompt=self.prompt, first=self.first, second=self.second)


@runtime_checkable
class Judge(Protocol):
    """The group `judge`: compares answers."""

    def __call__(self, comparisons: Sequence[Comparison]) -> Sequence[float]:
        """The probability, each time, that the first is better; 0.5 is a tie, NaN no verdict."""
        ...


def in_both_orders(
    ask: Callable[[Sequence[Comparison]], Sequence[float]], comparisons: Sequence[Comparison]
) -> list[float]:
    """The mean of what is said of (first, second) and of (second, first)."""
    said = ask([c for one in comparisons for c in (one, one.swapped)])
    return [(there + 1 - back) / 2 for there, back in zip(said[::2], said[1::2], strict=True)]


def check_question(question: str) -> None:
    """Raises ValueError unless a question shows the prompt and both answers."""
    try:
        shown = [Comparison(*words).written(question) for words in ("123", "023", "103", "120")]
    except (LookupError, ValueError, AttributeError) as error:
        raise ValueError(
            f"question must name {{prompt}}, {{first}} and {{second}}, and write other braces "
            f"twice: {error!r}"
        ) from error
    require(shown[0] not in shown[1:], "question must show each of {prompt}, {first} and {second}")


class Answers:
    """What a judge has said before, kept on disk by a digest of what it was asked."""

    def __init__(self) -> None:
        self.folder = cache.root() / "judge"

    def get(self, asked: Any) -> Any:
        """The answer, or None where it was never asked; whatever JSON holds."""
        file = self._file(asked)
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    def keep(self, asked: Any, answer: Any) -> None:
        """Keeps an answer; what was asked is not kept, but for its digest."""
        file = self._file(asked)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(answer))

    def _file(self, asked: Any) -> Path:
        return self.folder / f"{cache.digest_of(asked)}.json"
