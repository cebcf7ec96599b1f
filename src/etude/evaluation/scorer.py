"""The group `scorer`: finds the answer in a completion and compares it with the reference."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from etude.config.schema.prompting import ScorerConfig
from etude.evaluation.item import Metric, Outcome
from etude.rl.verifier import Bench

C = TypeVar("C", bound=ScorerConfig)


class AnswerScorer(ABC, Generic[C]):
    """Scores one answer at a time; a plugin is built from its config."""

    metrics: Sequence[Metric] = ()
    """Metrics of its values, besides the shares of right, wrong and unanswered."""

    def __init__(self, config: C) -> None:
        self.config = config

    @abstractmethod
    def bench(self) -> Sequence[Bench]:
        """Returns test answers with known verdicts; `malformed` ones contain no answer."""

    @abstractmethod
    def extract(self, completion: str) -> str | None:
        """Returns the answer that a completion gives; None if it gives none."""

    @abstractmethod
    def is_right(self, answer: str, reference: str) -> bool:
        """Whether an answer is right."""

    def outcome(self, answer: str | None, reference: str) -> Outcome:
        """Returns the outcome of an answer; None is unanswered."""
        if answer is None:
            return Outcome.UNANSWERED
        return Outcome.RIGHT if self.is_right(answer, reference) else Outcome.WRONG

    def values(self, answer: str, reference: str) -> Mapping[str, float]:
        """Returns the values that its `metrics` sum, of an answer; by default there are none."""
        return {}
