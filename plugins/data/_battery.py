"""What generated problems that compare mixers share: one character per token, none occurs twice."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from etude import Chat, Prompt, require
from etude.config import DataConfig

T = TypeVar("T", Prompt, Chat)


@dataclass
class BatteryConfig(DataConfig, ABC):
    """Base config of problems made of single characters; tokenizer=byte gives each a token."""

    n_problems: int = 20_000
    """Number of distinct problems."""
    problem_seed: int = 0
    """Seed that selects the problems."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.n_problems >= 2, f"n_problems must be at least 2, got {self.n_problems}")
        require(
            self.n_problems <= self.n_possible // 2,
            f"n_problems must be at most {self.n_possible // 2}, half of the problems of these "
            f"sizes, got {self.n_problems}",
        )

    @property
    @abstractmethod
    def n_possible(self) -> int:
        """Number of distinct problems, or less."""


def distinct(config: BatteryConfig, problem: Callable[[random.Random], T]) -> Iterator[T]:
    """Yields problems, each once."""
    seen = set[T]()
    draw = random.Random(config.problem_seed)
    while len(seen) < config.n_problems:
        made = problem(draw)
        if made not in seen:
            seen.add(made)
            yield made
