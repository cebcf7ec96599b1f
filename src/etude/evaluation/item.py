"""What an evaluation measures: records with an id, their outcomes, and metrics over them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

import numpy as np

from etude.files.cache import digest_of
from etude.objective.randomness import SAMPLE, rng
from etude.records import Record

R = TypeVar("R", bound=Record)
R_co = TypeVar("R_co", covariant=True)
DIGITS = 6
"""Decimal digits of the numbers in a result; float64 is exact to about 12."""


class Outcome(StrEnum):
    """How a question was answered. A tie between candidates is wrong."""

    RIGHT = "right"
    WRONG = "wrong"
    UNANSWERED = "unanswered"
    """The model's text contains no answer; it counts neither as right nor as wrong."""


@dataclass(frozen=True)
class Case(Generic[R_co]):
    """A record to evaluate; its id is a digest of its content, whatever its place in the data."""

    id: str
    record: R_co

    def rng(self, seed: int, *key: int) -> np.random.Generator:
        """Returns a random generator that depends only on the seed, the record and a key."""
        return rng(seed, SAMPLE, int(self.id[:16], 16), *key)


@dataclass(frozen=True)
class Item:
    """The result of one case."""

    id: str
    values: Mapping[str, float]
    """Numbers, rounded to DIGITS, that metrics sum."""
    outcome: Outcome | None = None
    """None if there is no question to answer, as for perplexity."""
    shown: Mapping[str, Any] = field(default_factory=dict[str, Any])  # JSON
    """What was asked and answered, for people: prompt, completions, answer, reference."""
    prompt: str = ""
    """A digest of the ids that the model read; the evaluation sets it."""


@dataclass(frozen=True)
class Metric:
    """The sum of a value over items, divided by the sum of another one or by their number."""

    name: str
    total: str
    """Name of the value that is summed."""
    over: str | None = None
    """Name of the value in the denominator; None = 1 for each item."""
    scale: float = 1.0
    """Factor, such as 1 / log 2 from nats to bits."""
    exponential: bool = False
    """Whether the metric is exp of the ratio, as a perplexity is."""
    higher_is_better: bool = True
    needs_same_tokenizer: bool = False
    """Whether it depends on how a text is cut into tokens, such as nats per token."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of the values that it sums."""
        return (self.total,) if self.over is None else (self.total, self.over)

    def of(self, items: Sequence[Mapping[str, float]]) -> float:
        """Returns the metric of the values of some items; NaN if there is nothing to divide by."""
        total = math.fsum(values[self.total] for values in items)
        over = math.fsum(1.0 if self.over is None else values[self.over] for values in items)
        ratio = self.scale * total / over if over else math.nan
        return math.exp(min(ratio, 700.0)) if self.exponential else ratio


OUTCOMES = (
    Metric("accuracy", "right"),
    Metric("wrong", "wrong", higher_is_better=False),
    Metric("unanswered", "unanswered", higher_is_better=False),
)
"""The metrics of items with an outcome: shares of all items, which add up to 1."""


def outcome_values(outcome: Outcome) -> dict[str, float]:
    """Returns the values that OUTCOMES sum."""
    return {one.value: float(one is outcome) for one in Outcome}


def best_outcome(scores: Sequence[float], right: int) -> Outcome:
    """Returns RIGHT if the candidate at index `right` alone has the highest score."""
    others = [score for i, score in enumerate(scores) if i != right]
    return Outcome.RIGHT if scores[right] > max(others) else Outcome.WRONG


def shares(log_probs: Sequence[float]) -> list[float]:
    """Returns the probability of each candidate, given that it is one of them."""
    highest = max(log_probs)
    weights = [math.exp(one - highest) for one in log_probs]
    return [weight / math.fsum(weights) for weight in weights]


def rounded(value: float) -> float:
    """Returns a number as it is in a result."""
    return round(value, DIGITS) + 0.0  # -0.0 becomes 0.0


def cases_of(records: Sequence[R]) -> list[Case[R]]:
    """Returns the records as cases in the order of their ids; equal records are numbered."""
    cases: list[Case[R]] = []
    seen: dict[str, int] = {}
    for record in records:
        content = digest_of(type(record).__name__, asdict(record))
        seen[content] = seen.get(content, -1) + 1
        again = seen[content]
        cases.append(Case(digest_of(content, again) if again else content, record))
    return sorted(cases, key=lambda case: case.id)
