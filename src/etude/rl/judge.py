"""Judges: the probability that the first of two answers to a prompt is better.

Lee et al. 2023 (RLAIF), https://arxiv.org/abs/2309.00267, sections 2.1 and 2.3: language models
have a position bias, so both orders are evaluated and averaged. With hard verdicts, the result is
a tie if the orders disagree.
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
"""The default prompt of a language-model judge."""


@dataclass(frozen=True)
class Comparison:
    """Two answers to a prompt, in the order that the judge sees."""

    prompt: str
    first: str
    second: str
    reference: str | None = None

    @property
    def swapped(self) -> "Comparison":
        """The same answers in the other order."""
        return Comparison(self.prompt, self.second, self.first, self.reference)

    def written(self, question: str) -> str:
        """Returns the prompt for a language-model judge."""
        return question.format(prompt=self.prompt, first=self.first, second=self.second)


@runtime_checkable
class Judge(Protocol):
    """The group `judge`: compares two answers to a prompt."""

    def __call__(self, comparisons: Sequence[Comparison]) -> Sequence[float]:
        """Returns the probability that each first answer is better; 0.5 = tie, NaN = no verdict."""
        ...


def in_both_orders(
    ask: Callable[[Sequence[Comparison]], Sequence[float]], comparisons: Sequence[Comparison]
) -> list[float]:
    """Returns the probability that each first answer is better, averaged over both orders."""
    said = ask([c for one in comparisons for c in (one, one.swapped)])
    return [(there + 1 - back) / 2 for there, back in zip(said[::2], said[1::2], strict=True)]


def check_question(question: str) -> None:
    """Raises ValueError unless a question contains the prompt and both answers."""
    try:
        shown = [Comparison(*words).written(question) for words in ("123", "023", "103", "120")]
    except (LookupError, ValueError, AttributeError) as error:
        raise ValueError(
            f"question must name {{prompt}}, {{first}} and {{second}}, and write other braces "
            f"twice: {error!r}"
        ) from error
    require(shown[0] not in shown[1:], "question must show each of {prompt}, {first} and {second}")


class Answers:
    """A judge's past answers, cached on disk under a digest of the request."""

    def __init__(self) -> None:
        self.folder = cache.root() / "judge"

    def get(self, asked: Any) -> Any:
        """Returns the cached answer, any JSON value, or None if there is none."""
        file = self._file(asked)
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    def keep(self, asked: Any, answer: Any) -> None:
        """Caches an answer; of the request, only the digest is stored."""
        file = self._file(asked)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(answer))

    def _file(self, asked: Any) -> Path:
        return self.folder / f"{cache.digest_of(asked)}.json"
