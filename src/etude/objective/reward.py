"""The contract of the group `reward`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from etude.records import Chat


@runtime_checkable
class Reward(Protocol):
    """The group `reward`: scores completions; references are None where a prompt has none.

    A score is a finite number, or NaN for no verdict, for example if a reference cannot be parsed
    or a prompt is of another kind. A completion without a verdict is excluded from the loss, the
    statistics of its group and every mean; it does not count as 0 and is not an error.
    A prompt is the question or, if it is a conversation of several messages, their transcript.
    """

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> Sequence[float]:
        """Returns one score per completion."""
        ...


class ChatReward(ABC):
    """A reward that reads conversations as such, instead of their transcripts."""

    @abstractmethod
    def __call__(
        self,
        prompts: Sequence[str | Chat],
        completions: Sequence[str],
        references: Sequence[str | None],
    ) -> Sequence[float]:
        """Returns one score per completion."""


def scores_of(
    reward: Reward | ChatReward,
    prompts: Sequence[str | Chat],
    completions: Sequence[str],
    references: Sequence[str | None],
) -> Sequence[float]:
    """Returns the scores of a reward, which gets the prompts in the form that it reads."""
    if isinstance(reward, ChatReward):
        return reward(prompts, completions, references)
    return reward([str(prompt) for prompt in prompts], completions, references)
