"""What sums of two numbers share: their sizes, and which problems are drawn."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from etude import require
from etude.config import DataConfig


@dataclass
class SumsConfig(DataConfig):
    """Base config of sums, each of which occurs once, so held-out ones are never trained on."""

    digits: int = 3
    """Digits of both numbers, 1 to 12."""
    n_problems: int = 9000
    """Number of distinct problems."""
    problem_seed: int = 0
    """Seed that selects the problems and the form of each answer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.digits <= 12, f"digits must be 1 to 12, got {self.digits}")
        require(
            2 <= self.n_problems <= self.n_possible,
            f"n_problems must be 2 to {self.n_possible} (all that exist with digits={self.digits}),"
            f" got {self.n_problems}",
        )

    @property
    def n_possible(self) -> int:
        """Number of distinct problems that exist."""
        return (9 * 10 ** (self.digits - 1)) ** 2


def sums(config: SumsConfig) -> Iterator[tuple[int, int, float]]:
    """Yields both numbers of each problem, and a number in [0, 1) that decides its form."""
    draw = random.Random(config.problem_seed)
    least = 10 ** (config.digits - 1)
    for problem in draw.sample(range(config.n_possible), config.n_problems):
        left, right = divmod(problem, 9 * least)
        yield least + left, least + right, draw.random()
