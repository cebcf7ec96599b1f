"""The group `prompting`: how a question is put to a model, and how one answer is chosen.

A plugin is built from its config and the solved examples it may show.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from etude.config.capabilities import name_of
from etude.config.record_kind import kind_of
from etude.config.registry import build
from etude.config.schema.decoding import DecodingConfig
from etude.config.schema.plugins import DataConfig
from etude.config.schema.prompting import PromptingConfig
from etude.data.corpus import read
from etude.errors import CompositionError
from etude.evaluation.item import Case, cases_of
from etude.records import Chat, Prompt

C = TypeVar("C", bound=PromptingConfig)


@dataclass(frozen=True)
class Examples:
    """Questions with their answers that a prompt may show: the training split of the data."""

    cases: Sequence[Case[Prompt]]
    seed: int


class Prompting(ABC, Generic[C]):
    """Writes the prompt of a question, and chooses among the answers to it."""

    stop: Sequence[str] = ()
    """Strings that end a completion, such as what follows the answer of an example."""

    def __init__(self, config: C, examples: Examples) -> None:
        self.config = config
        self.examples = examples

    @property
    def n_samples(self) -> int:
        """Completions of each prompt."""
        return self.config.n_completions

    @abstractmethod
    def prompt(self, case: Case[Prompt]) -> str | Chat:
        """Returns what the model is asked: a text, or a conversation that the assistant answers."""

    def choose(self, answers: Sequence[str | None], log_probs: Sequence[float]) -> str | None:
        """Returns the answer among those of the completions; None = no answer in a completion.

        `log_probs` are the mean log-probabilities per token of the completions, in nats, under the
        distribution that they were sampled from.
        """
        return answers[0]


def build_prompting(config: PromptingConfig, data: DataConfig | None, seed: int) -> Prompting[Any]:
    """Builds a plugin with the examples that it shows; reads no data if it shows none.

    Raises CompositionError if it shows examples and the data has none.
    """
    cases: list[Case[Prompt]] = []
    if config.shows_examples:
        if data is None or kind_of(data) is not Prompt:
            shown = "null" if data is None else name_of(data)
            raise CompositionError(
                f"prompting={name_of(config)} shows solved examples, and data={shown} has none.\n"
                "  Choose data of questions with answers, such as data=jsonl_prompts."
            )
        cases = cast("list[Case[Prompt]]", cases_of(list(read(data).train)))
    return build(config, Examples(cases, seed))


def check_prompting(config: PromptingConfig, decoding: DecodingConfig) -> None:
    """Raises CompositionError if answers are voted on and all completions are the same."""
    if config.n_completions > 1 and not decoding.is_random:
        raise CompositionError(
            f"prompting={name_of(config)} chooses among {config.n_completions} completions, and "
            f"decoding={name_of(decoding)} writes the same one each time.\n"
            "  Use decoding=sample, or prompting=chain_of_thought."
        )
