"""The group `evaluator`: measures a model on records, one item for each.

A plugin is built from its config and an `EvaluatorContext`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from etude.config.schema.evaluation import EvaluatorConfig
from etude.evaluation.item import OUTCOMES, Case, Item, Metric
from etude.evaluation.prompting import Prompting
from etude.evaluation.scorer import AnswerScorer
from etude.evaluation.subject import Subject
from etude.network.decoding import Decoding

C = TypeVar("C", bound=EvaluatorConfig)
R = TypeVar("R")


@dataclass(frozen=True)
class EvaluatorContext:
    """What an evaluator may use besides its config."""

    subject: Subject
    prompting: Prompting[Any]
    scorer: AnswerScorer[Any]
    decoding: Decoding
    seq_len: int
    """Longest row, in tokens."""
    max_new_tokens: int
    seed: int


class Evaluator(ABC, Generic[C, R]):
    """Evaluates records of type R.

    Items must depend on their own case alone: not on its place, or on the cases evaluated with it.
    """

    def __init__(self, config: C, context: EvaluatorContext) -> None:
        self.config = config
        self.context = context

    @property
    def metrics(self) -> Sequence[Metric]:
        """The metrics of its items; the shares of each outcome by default."""
        return OUTCOMES

    @abstractmethod
    def evaluate(self, cases: Sequence[Case[R]]) -> Sequence[Item]:
        """Returns the item of each case, in order."""

    @abstractmethod
    def questions(self, cases: Sequence[Case[R]]) -> Iterator[Sequence[int]]:
        """Yields the ids that the model reads for each case, for `etude inspect` and the digest."""
