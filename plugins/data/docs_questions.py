"""Questions on docstrings of the standard library, such as what a function does.

About 10,000 questions on 2,600 contexts, without a download: a context is three docstrings of one
module below their names, and the answer is the summary line of one. One question in four asks for a
name that is not there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from etude import Question, plugin
from etude.config import DataConfig
from etude.data import DataSource

from ._stdlib_text import Docstring, by_hash, docstrings, fingerprint

N_DOCSTRINGS = 3
MAX_CHARS = 240
"""Longest text of a docstring in a context, in characters."""


@dataclass
class DocsQuestionsConfig(DataConfig):
    pass


@plugin(DocsQuestionsConfig, yields=Question)
class DocsQuestions(DataSource[DocsQuestionsConfig]):
    """Yields the four questions on each context, contexts ordered by hash."""

    def records(self) -> Iterator[Question]:
        texts = [one for one in docstrings() if 10 <= len(_summary(one)) <= 80]
        parts: list[Sequence[Docstring]] = []
        for _, group in groupby(sorted(texts, key=_module), key=_module):
            of_module = sorted(group, key=by_hash)
            parts += [
                of_module[i : i + N_DOCSTRINGS] for i in range(0, len(of_module), N_DOCSTRINGS)
            ]
        contexts = sorted(parts, key=by_hash)
        for part, other in zip(contexts, [*contexts[1:], *contexts[:1]], strict=True):
            yield from _questions(part, other[0])

    def fingerprint(self) -> str:
        return fingerprint()


def _questions(part: Sequence[Docstring], other: Docstring) -> Iterator[Question]:
    context = ""
    answers: dict[str, tuple[str, int]] = {}
    for one in part:
        context += f"{_name(one)}\n"
        answers[_name(one)] = _summary(one), len(context)
        context += f"{one.text.strip()[:MAX_CHARS].rstrip()}\n\n"
    for name, (summary, start) in answers.items():
        yield Question(f"What does {name} do?", context, (summary,), (start,))
    if _name(other) not in context:
        yield Question(f"What does {_name(other)} do?", context)


def _module(one: Docstring) -> str:
    return one.name.partition(".")[0]


def _name(one: Docstring) -> str:
    """The name of what is documented, with its class."""
    return ".".join(one.name.split(".")[-2:])


def _summary(one: Docstring) -> str:
    return one.text.strip().partition("\n")[0].rstrip()
