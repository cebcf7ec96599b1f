"""The base of tools that a policy calls in the middle of its text: the call, then its result.

As in Toolformer (Schick et al. 2023, https://arxiv.org/abs/2302.04761) and ReTool (Feng et al.
2025, https://arxiv.org/abs/2504.11536): the end of a call interrupts the policy, and it continues
after the result. A turn without a call is the answer, and ends the episode.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from etude import require
from etude.config import EnvironmentConfig
from etude.objective import Environment, Reply, State


@dataclass
class InlineToolConfig(EnvironmentConfig):
    """Base config of tools that are called within a text."""

    opening: str = "<call>"
    """Text before the input of a call."""
    closing: str = "</call>"
    """Text after the input; it ends the turn."""
    result: str = "<result>{}</result>"
    """What is appended after a call, with the result for {}."""
    max_chars: int = 200
    """Longest result, in characters; the rest is cut."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.opening and self.closing), "opening and closing must not be empty")
        require(self.result.count("{}") == 1, f"result must contain {{}} once, got {self.result!r}")
        require(self.max_chars >= 1, f"max_chars must be at least 1, got {self.max_chars}")


T = TypeVar("T", bound=InlineToolConfig)


class InlineTool(Environment[T]):
    """Base of tools that are called within a text."""

    @abstractmethod
    def call(self, text: str) -> str:
        """Returns the result for the input of a call, which may be any text."""

    @property
    def stop(self) -> Sequence[str]:
        return [self.config.closing]

    def step(self, state: State, turn: str, rng: np.random.Generator) -> Reply:
        config = self.config
        before, closing, _ = turn.partition(config.closing)
        _, opening, text = before.rpartition(config.opening)
        if not (opening and closing):
            return Reply(state, None)
        result = self.call(text)[: config.max_chars]
        return Reply(state, config.result.replace("{}", result))

    def example_of(self, text: str) -> Sequence[str]:
        """Returns the turns of an episode with this call."""
        return [f"so {self.config.opening}{text}{self.config.closing}", "done"]
