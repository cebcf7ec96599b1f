"""Judges: the probability that the first of two answers to a prompt is better.

Lee et al. 2023 (RLAIF), https://arxiv.org/abs/2309.00267, sections 2.1 and 2.3: language models
have a position bias, so both orders are evaluated and averaged. With hard verdicts, the result is
a tie if the orders disagree.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from etude.config.schema.plugins import require
from etude.errors import CheckpointError
from etude.files import cache
from etude.files.json_file import read_signed, write_signed
from etude.records import Chat


@dataclass(frozen=True)
class Comparison:
    """Two answers to a prompt, in the order that the judge sees."""

    prompt: str | Chat
    """Written as a transcript if it is a conversation of several messages."""
    first: str
    second: str
    reference: str | None = None

    @property
    def in_other_order(self) -> "Comparison":
        """The same answers in the other order."""
        return Comparison(self.prompt, self.second, self.first, self.reference)

    def format_question(self, question: str) -> str:
        """Returns the prompt for a language-model judge, from a template."""
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
    p = ask([c for comparison in comparisons for c in (comparison, comparison.in_other_order)])
    return [(first + 1 - swapped) / 2 for first, swapped in zip(p[::2], p[1::2], strict=True)]


def check_question(question: str) -> None:
    """Raises ValueError unless a question contains the prompt and both answers."""
    try:
        texts = [
            Comparison(*words).format_question(question) for words in ("123", "023", "103", "120")
        ]
    except (LookupError, ValueError, AttributeError) as error:
        raise ValueError(
            "question must contain {prompt}, {first} and {second}, and no other single braces; "
            f"double literal braces: {error!r}"
        ) from error
    require(texts[0] not in texts[1:], "question must contain {prompt}, {first} and {second}")


class AnswerCache:
    """A judge's past answers, cached on disk under a digest of the request."""

    def __init__(self) -> None:
        self.folder = cache.root() / "judge"

    def get(self, request: Any) -> Any:
        """Returns the cached answer, any JSON value, or None if there is none, or it is damaged."""
        file = self._file(request)
        with suppress(CheckpointError):
            return read_signed(file)["answer"]
        return None

    def put(self, request: Any, answer: Any) -> None:
        """Caches an answer; only a digest of the request is stored."""
        file = self._file(request)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_signed(file, {"answer": answer})

    def _file(self, request: Any) -> Path:
        return self.folder / f"{cache.digest_of(request)}.json"
