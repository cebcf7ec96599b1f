"""Verifiers: rewards computed by a program, each with a bench of test answers.

A policy finds every wrong answer that is rewarded. So a verifier lists right, wrong, malformed
and adversarial answers, and is rejected before training if it misjudges one of them.
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
"""Characters of an answer quoted in a message."""
_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)


class Kind(StrEnum):
    """The kind of a bench answer."""

    RIGHT = "right"
    WRONG = "wrong"
    MALFORMED = "malformed"
    ADVERSARIAL = "adversarial"


@dataclass(frozen=True)
class Bench:
    """Test answers to one prompt, with known verdicts."""

    reference: str | None
    right: Sequence[str]
    wrong: Sequence[str]
    malformed: Sequence[str] = ()
    """Answers with nothing to judge: empty, truncated, or in the wrong format."""
    adversarial: Sequence[str] = ()
    """Answers that look right to a careless program."""
    pays: float = 1.0
    """Reward of a right answer; every other answer must get less."""
    prompt: str = ""

    def cases(self) -> Iterator[tuple[Kind, str]]:
        """Yields each answer with its kind."""
        for kind in Kind:
            answers = {
                Kind.RIGHT: self.right,
                Kind.WRONG: self.wrong,
                Kind.MALFORMED: self.malformed,
                Kind.ADVERSARIAL: self.adversarial,
            }[kind]
            yield from ((kind, answer) for answer in answers)


class Verifier(ABC, Generic[C]):
    """A reward of the group `reward` with answers that it must, or must not, reward."""

    def __init__(self, config: C) -> None:
        self.config = config

    @abstractmethod
    def bench(self) -> Sequence[Bench]:
        """Returns its test answers; they may depend on the config and take at most about 1 s."""

    @abstractmethod
    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> list[float]:
        """Returns one score per completion; see `etude.objective.reward.Reward`."""


class AnswerVerifier(Verifier[C]):
    """A verifier that compares each completion with the reference answer of its prompt."""

    @abstractmethod
    def score(self, completion: str, reference: str) -> float:
        """Returns the reward of the completion; NaN = no verdict."""

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> list[float]:
        known = answers(self.config, prompts, references)
        return [self.score(*pair) for pair in zip(completions, known, strict=True)]


@dataclass(frozen=True)
class Judged:
    """A bench answer and the reward it got."""

    kind: Kind
    completion: str
    reference: str | None
    score: float
    pays: float

    @property
    def is_misjudged(self) -> bool:
        """Right answers must get the full reward, others less; no verdict is no reward."""
        is_paid = self.score >= self.pays - 1e-9
        return is_paid != (self.kind is Kind.RIGHT)


@dataclass(frozen=True)
class Report:
    """The results of a verifier on its bench."""

    judged: tuple[Judged, ...]

    @property
    def misjudged(self) -> list[Judged]:
        """The answers that it misjudged."""
        return [one for one in self.judged if one.is_misjudged]

    @property
    def false_positives(self) -> float:
        """Share of the answers other than right ones that got the full reward."""
        return _share([one for one in self.judged if one.kind is not Kind.RIGHT])

    @property
    def false_negatives(self) -> float:
        """Share of the right answers that did not get the full reward."""
        return _share([one for one in self.judged if one.kind is Kind.RIGHT])


def _share(judged: Sequence[Judged]) -> float:
    return sum(one.is_misjudged for one in judged) / max(len(judged), 1)


def examine(verifier: Verifier[Any]) -> Report:
    """Runs a verifier on its bench."""
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
    lines = [verdict_line(one) for one in report.misjudged[:5]]
    raise ConfigError(
        f"{_chosen(verifier.config)} fails its own bench, so a policy would learn what it pays by "
        f"mistake: {report.false_positives:.0%} false positives, {report.false_negatives:.0%} "
        "false negatives.\n  " + "\n  ".join(lines) + "\n  Its config may be too lenient, or too "
        f"strict: etude check {_chosen(verifier.config)} shows the whole bench."
    )


def verdict_line(judged: Judged) -> str:
    """Returns one line with a bench answer and the reward it got."""
    where = "" if judged.reference is None else f" where {judged.reference[:SHOWN]!r} is asked"
    return (
        f"{judged.kind.value} answer {judged.completion[:SHOWN]!r}{where}: "
        f"paid {judged.score:g}, a right one is paid {judged.pays:g}"
    )


def answers(
    config: RewardConfig, prompts: Sequence[str], references: Sequence[str | None]
) -> list[str]:
    """Returns the references. Raises DataError with the first prompt that has none."""
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
    """Returns the Python code of a completion: its last fenced block, or all of it without one."""
    return next(reversed(_FENCED.findall(completion)), completion)
