"""The group `prompting`: how a question is put to a model, and how one answer is chosen.

A plugin is built from its config and the solved examples it may show.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from etude.config.schema.evaluation import PromptingConfig
from etude.evaluation.item import Case
from etude.records import Chat, Prompt

C = TypeVar("C", bound=PromptingConfig)


@dataclass(frozen=True)
class Examples:
    """Questions with their answers that a prompt may show: the training split of the data."""

    cases: Sequence[Case[Prompt]]
    seed: int


class Prompting(ABC, Generic[C]):
    """Writes the prompt of a question, and chooses among the answers to it."""

    n_samples: int = 1
    """Completions of each prompt."""

    def __init__(self, config: C, examples: Examples) -> None:
        self.config = config
        self.examples = examples

    @abstractmethod
    def prompt(self, case: Case[Prompt]) -> str | Chat:
        """Returns what the model is asked: a text, or a conversation that the assistant answers."""

    def choose(self, answers: Sequence[str | None]) -> str | None:
        """Returns the answer among those of the completions; None = no answer in a completion."""
        return answers[0]
