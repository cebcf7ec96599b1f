"""Verifiers: rewards that a program decides, each with a bench that it is tried on.

A policy finds every answer that is paid without being right. So a verifier names answers, right,
wrong, malformed and adversarial ones, and is refused before training if it misjudges one of them.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from etude.config.registry import plugin_of
from etude.config.schema.plugins import RewardConfig
from etude.errors import ConfigError, DataError

C = TypeVar("C", bound=RewardConfig)
SHOWN = 60
"""Characters of an answer in a message."""
_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)


class Kind(StrEnum):
    """What an answer of a bench is."""

    RIGHT = "right"
    WRONG = "wrong"
    MALFORMED = "malformed"
    ADVERSARIAL = "adversarial"


@dataclass(frozen=True)
class Bench:
    """Answers to one prompt, of which it is known whether they are to be paid."""

    reference: str | None
    right: Sequence[str]
    wrong: Sequence[str]
    malformed: Sequence[str] = ()
    """Answers that hold nothing to judge: empty, cut off, in the wrong form."""
    adversarial: Sequence[str] = ()
    """Answers that look right to a careless program."""
    pays: float = 1.0
    """What a right answer is paid; every other is paid less."""
    prompt: str = ""

    def cases(self) -> Iterator[tuple[Kind, str]]:
        """Each answer, with what it is."""
        for kind in Kind:
            answers = {
                Kind.RIGHT: self.right,
                Kind.WRONG: self.wrong,
                Kind.MALFORMED: self.malformed,
                Kind.ADVERSARIAL: self.adversarial,
            }[kind]
            yield from ((kind, answer) for answer in answers)


class Verifier(ABC, Generic[C]):
    """A reward of the group `reward` that knows answers which it must, and must not, pay."""

    def __init__(self, config: C) -> None:
        self.config = config

    @abstractmethod
    def bench(self) -> Sequence[Bench]:
        """What it is tried on; it may depend on the config, and takes about a second at most."""

    @abstractmethod
    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> list[float]:
        """Returns one score a completion; see `etude.objective.reward.Reward`."""


class AnswerVerifier(Verifier[C]):
    """A verifier that holds each completion against the reference answer of its prompt."""

    @abstractmethod
    def score(self, completion: str, reference: str) -> float:
        """What the completion is paid; NaN = no verdict."""

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> list[float]:
        known = answers(self.config, prompts, references)
        return [self.score(*pair) for pair in zip(completions, known, strict=True)]


@dataclass(frozen=True)
class Judged:
    """An answer of a bench, and what it was paid."""

    kind: Kind
    completion: str
    reference: str | None
    score: float
    pays: float

    @property
    def is_misjudged(self) -> bool:
        """A right answer must be paid in full, any other less; no verdict pays nothing."""
        is_paid = self.score >= self.pays - 1e-9
        return is_paid != (self.kind is Kind.RIGHT)


@dataclass(frozen=True)
class Report:
    """How a verifier did on its bench."""

    judged: tuple[Judged, ...]

    @property
    def misjudged(self) -> list[Judged]:
        """What it got wrong."""
        return [one for one in self.judged if one.is_misjudged]

    @property
    def false_positives(self) -> float:
        """The share of the answers that are not right, but paid as if they were."""
        return _share([one for one in self.judged if one.kind is not Kind.RIGHT])

    @property
    def false_negatives(self) -> float:
        """The share of the right answers that are not paid in full."""
        return _share([one for one in self.judged if one.kind is Kind.RIGHT])


def _share(judged: Sequence[Judged]) -> float:
    return sum(one.is_misjudged for one in judged) / max(len(judged), 1)


def examine(verifier: Verifier[Any]) -> Report:
    """Lets a verifier judge its bench."""
    judged: list[Judged] = []
    for bench in verifier.bench():
        cases = list(bench.cases())
        n = len(cases)
        scores = verifier(
            [bench.prompt] * n, [answer for _, answer in cases], [bench.reference] * n
        )
        for (kind, answer), score in zip(cases, scores, strict=True):
            judged.append(Judged(kind, answer, bench.reference, score, bench.pays))
    return Report(tuple(judged))


def refuse_failing(verifier: Verifier[Any]) -> None:
    """Raises ConfigError for a verifier that misjudges an answer of its bench."""
    report = examine(verifier)
    if not report.misjudged:
        return
    lines = [said(one) for one in report.misjudged[:5]]
    raise ConfigError(
        f"{_chosen(verifier.config)} fails its own bench, so a policy would learn what it pays by "
        f"mistake: {report.false_positives:.0%} false positives, {report.false_negatives:.0%} "
        "false negatives.\n  " + "\n  ".join(lines) + "\n  Its config may be too lenient, or too "
        f"strict: etude check {_chosen(verifier.config)} shows the whole bench."
    )


def said(judged: Judged) -> str:
    """One answer of a bench and what it was paid, on one line."""
    where = "" if judged.reference is None else f" where {judged.reference[:SHOWN]!r} is asked"
    return (
        f"{judged.kind.value} answer {judged.completion[:SHOWN]!r}{where}: "
        f"paid {judged.score:g}, a right one is paid {judged.pays:g}"
    )


def answers(
    config: RewardConfig, prompts: Sequence[str], references: Sequence[str | None]
) -> list[str]:
    """The references, all of them there. Raises DataError that names a prompt without one."""
    known = [reference for reference in references if reference is not None]
    if len(known) < len(references):
        raise DataError(
            f"{_chosen(config)} needs a reference answer, and the prompt "
            f"{prompts[list(references).index(None)]!r} has none."
        )
    return known


def _chosen(config: RewardConfig) -> str:
    return "=".join(plugin_of(config).address.rsplit("/", 1))


def code_of(completion: str) -> str:
    """The Python in a completion: the last fenced block, or all of it where none is fenced."""
    return next(reversed(_FENCED.findall(completion)), completion)
