"""Verifiers: rewards computed by a program, each with a bench of test answers.

A policy finds every wrong answer that is rewarded. So a verifier lists right, wrong, malformed
and adversarial answers, and training does not start if it misjudges one of them.
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
    full_reward: float = 1.0
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
        required = require_references(self.config, prompts, references)
        return [self.score(*pair) for pair in zip(completions, required, strict=True)]


@dataclass(frozen=True)
class BenchResult:
    """A bench answer and the reward it got."""

    kind: Kind
    completion: str
    reference: str | None
    score: float
    full_reward: float

    @property
    def is_misjudged(self) -> bool:
        """Right answers must get the full reward, others less; no verdict is no reward."""
        is_rewarded = self.score >= self.full_reward - 1e-9
        return is_rewarded != (self.kind is Kind.RIGHT)


@dataclass(frozen=True)
class BenchReport:
    """The results of a verifier on its bench."""

    results: tuple[BenchResult, ...]

    @property
    def misjudged_results(self) -> list[BenchResult]:
        """The results that are wrong."""
        return [result for result in self.results if result.is_misjudged]

    @property
    def false_positives(self) -> float:
        """Share of the answers other than right ones that got the full reward."""
        return _error_rate([r for r in self.results if r.kind is not Kind.RIGHT])

    @property
    def false_negatives(self) -> float:
        """Share of the right answers that did not get the full reward."""
        return _error_rate([r for r in self.results if r.kind is Kind.RIGHT])


def _error_rate(results: Sequence[BenchResult]) -> float:
    return sum(result.is_misjudged for result in results) / max(len(results), 1)


def run_bench(verifier: Verifier[Any]) -> BenchReport:
    """Runs a verifier on its bench."""
    results: list[BenchResult] = []
    for bench in verifier.bench():
        cases = list(bench.cases())
        n = len(cases)
        scores = verifier([bench.prompt] * n, [a for _, a in cases], [bench.reference] * n)
        for (kind, answer), score in zip(cases, scores, strict=True):
            results.append(BenchResult(kind, answer, bench.reference, score, bench.full_reward))
    return BenchReport(tuple(results))


def check_bench(verifier: Verifier[Any]) -> None:
    """Raises ConfigError for a verifier that misjudges an answer of its bench."""
    report = run_bench(verifier)
    if not report.misjudged_results:
        return
    override = _override(verifier.config)
    lines = [result_line(result) for result in report.misjudged_results[:5]]
    raise ConfigError(
        f"{override} fails its own bench, so a policy would learn to exploit its mistakes: "
        f"{report.false_positives:.0%} false positives, {report.false_negatives:.0%} "
        "false negatives.\n  " + "\n  ".join(lines) + "\n  Its config may be too lenient or too "
        f"strict: etude check {override} shows the whole bench."
    )


def result_line(result: BenchResult) -> str:
    """Returns one line with a bench answer and the reward it got."""
    reference = "" if result.reference is None else f" for reference {result.reference[:SHOWN]!r}"
    return (
        f"{result.kind.value} answer {result.completion[:SHOWN]!r}{reference}: "
        f"reward {result.score:g}; a right answer gets {result.full_reward:g}"
    )


def require_references(
    config: RewardConfig, prompts: Sequence[str], references: Sequence[str | None]
) -> list[str]:
    """Returns the references. Raises DataError with the first prompt that has none."""
    known = [reference for reference in references if reference is not None]
    if len(known) < len(references):
        raise DataError(
            f"{_override(config)} needs a reference answer for every prompt, but the prompt "
            f"{prompts[list(references).index(None)]!r} has none."
        )
    return known


def _override(config: RewardConfig) -> str:
    return "=".join(plugin_of(config).address.rsplit("/", 1))


def code_of(completion: str) -> str:
    """Returns the Python code of a completion: its last fenced block, or all of it without one."""
    return next(reversed(_FENCED.findall(completion)), completion)
