"""The contract of the group `environment`: replies to the policy in a rollout."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np

from etude.config.schema.environment import EnvironmentConfig
from etude.records import Prompt

C = TypeVar("C", bound=EnvironmentConfig)
State: TypeAlias = Mapping[str, Any]  # JSON
"""What an environment remembers of an episode."""


@dataclass(frozen=True)
class Reply:
    """What an environment returns for a turn of the policy."""

    state: State
    """The state of the episode after this turn."""
    text: str | None
    """What the policy reads before its next turn; None ends the episode."""
    role: str | None = None
    """Role of the message that the text is, such as user or tool, if the tokenizer has a chat
    template; None = the text continues the policy's own message."""
    reward: float = 0.0
    """Added to the episode's reward, if the environment declares `scores`."""


class Environment(ABC, Generic[C]):
    """Base of the group `environment`. It keeps no state: an episode's is passed and returned."""

    def __init__(self, config: C) -> None:
        self.config = config

    @property
    def stop(self) -> Sequence[str]:
        """Strings that end a turn, besides stop tokens and `objective.stop`."""
        return ()

    def prompt(self, prompt: Prompt) -> Prompt:
        """Returns what the policy reads first; by default, the prompt of the data."""
        return prompt

    def start(self, prompt: Prompt, rng: np.random.Generator) -> State:
        """Returns the first state of an episode; `rng` is the same for a group of completions."""
        return {}

    @abstractmethod
    def example(self, state: State) -> Sequence[str]:
        """Returns the turns of a possible episode from a first state, for `etude check`."""

    @abstractmethod
    def step(self, state: State, turn: str, rng: np.random.Generator) -> Reply:
        """Replies to the text of a turn, without special tokens. Depends on its arguments only."""
