"""What the synthetic batteries share: a number of distinct samples, drawn from a seed."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase
from typing import TypeVar

from etude import Chat, DataError, Message, Prompt, require
from etude.config import DataConfig

T = TypeVar("T", Prompt, Chat)
KEYS = ascii_uppercase
VALUES = ascii_lowercase
QUERY = "|"
"""Between what has to be remembered and the first query."""
N_TRIES = 20
"""Draws per wanted sample, after which too few different ones exist."""


@dataclass
class BatteryConfig(DataConfig):
    n_samples: int = 20_000
    """Number of distinct samples."""
    problem_seed: int = 0
    """Seed that draws the samples."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.n_samples >= 2, f"n_samples must be at least 2, got {self.n_samples}")


def distinct(config: BatteryConfig, draw: Callable[[random.Random], T]) -> Iterator[T]:
    """Yields `n_samples` different records. Raises DataError if there are fewer."""
    rng = random.Random(config.problem_seed)
    seen = set[str]()
    for _ in range(N_TRIES * config.n_samples):
        record = draw(rng)
        if str(record) not in seen:
            seen.add(str(record))
            yield record
        if len(seen) == config.n_samples:
            return
    raise DataError(
        f"data.n_samples={config.n_samples} is too large: only {len(seen)} different samples of "
        "these sizes were found.\n  Choose fewer samples, or larger sizes."
    )


def questions(shown: str, answers: list[tuple[str, str]]) -> Chat:
    """A conversation that shows a text, and then asks for one value after another."""
    turns: list[Message] = []
    for i, (query, value) in enumerate(answers):
        turns.append(Message("user", query if i else f"{shown}{QUERY}{query}"))
        turns.append(Message("assistant", value))
    return Chat(tuple(turns))
