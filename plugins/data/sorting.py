"""Lists of numbers to sort: `Sort: 41 7 203 =`, answered by `7 41 203`.

Each list occurs once, so held-out lists are never trained on.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from etude import Prompt, plugin, require
from etude.config import DataConfig
from etude.data import DataSource


@dataclass
class SortingConfig(DataConfig):
    min_length: int = 3
    """Minimum length of a list."""
    max_length: int = 6
    """Maximum length of a list."""
    largest: int = 99
    """Largest number; the smallest is 0."""
    n_problems: int = 5000
    """Number of distinct lists."""
    problem_seed: int = 0
    """Seed that selects the lists."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            2 <= self.min_length <= self.max_length,
            f"min_length must be from 2 to max_length={self.max_length}, got {self.min_length}",
        )
        require(self.largest >= 1, f"largest must be at least 1, got {self.largest}")
        possible = (self.largest + 1) ** self.min_length
        require(
            2 <= self.n_problems <= possible // 2,
            f"n_problems must be 2 to {possible // 2} (half of all lists of min_length="
            f"{self.min_length} numbers up to largest={self.largest}), got {self.n_problems}",
        )


@plugin(SortingConfig, yields=Prompt)
class Sorting(DataSource[SortingConfig]):
    """Numbers may repeat within a list; all lengths are equally likely."""

    def records(self) -> Iterator[Prompt]:
        config = self.config
        seen = set[tuple[int, ...]]()
        draw = random.Random(config.problem_seed)
        while len(seen) < config.n_problems:
            length = draw.randint(config.min_length, config.max_length)
            numbers = tuple(draw.randint(0, config.largest) for _ in range(length))
            if numbers not in seen:
                seen.add(numbers)
                yield Prompt(f"Sort: {_join(numbers)} =", _join(sorted(numbers)))

    def fingerprint(self) -> str:
        return ""


def _join(numbers: tuple[int, ...] | list[int]) -> str:
    return " ".join(map(str, numbers))
