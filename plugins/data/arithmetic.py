"""Arithmetic problems with one correct answer that a program can check: `17 + 25 =`.

Each problem occurs once, so held-out problems are never trained on.
"""

import operator
import random
from collections.abc import Iterator
from dataclasses import dataclass

from etude import Prompt, plugin, require
from etude.config import DataConfig
from etude.data import DataSource

OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul}


@dataclass
class ArithmeticConfig(DataConfig):
    digits: int = 2
    """Maximum number of digits of an operand, 1 to 12."""
    operators: str = "+-"
    """Operators to use, out of + - *; all are equally frequent."""
    n_problems: int = 5000
    """Number of distinct problems."""
    problem_seed: int = 0
    """Seed that selects the problems."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.digits <= 12, f"digits must be 1 to 12, got {self.digits}")
        known = set(self.operators) <= OPERATORS.keys()
        require(
            known and len(set(self.operators)) == len(self.operators) > 0,
            f"operators must be some of {''.join(OPERATORS)}, each once, got {self.operators!r}",
        )
        require(
            2 <= self.n_problems <= self.n_possible,
            f"n_problems must be 2 to {self.n_possible} (all that exist with digits={self.digits} "
            f"and operators={self.operators}), got {self.n_problems}",
        )

    @property
    def n_possible(self) -> int:
        """Number of distinct problems that exist."""
        return len(self.operators) * 10 ** (2 * self.digits)


@plugin(ArithmeticConfig, yields=Prompt)
class Arithmetic(DataSource[ArithmeticConfig]):
    """Draws problems without replacement from the numbered set of all problems."""

    def records(self) -> Iterator[Prompt]:
        config = self.config
        draw = random.Random(config.problem_seed)
        for number in draw.sample(range(config.n_possible), config.n_problems):
            rest, right = divmod(number, 10**config.digits)
            which, left = divmod(rest, 10**config.digits)
            sign = config.operators[which]
            yield Prompt(f"{left} {sign} {right} =", str(OPERATORS[sign](left, right)))

    def fingerprint(self) -> str:
        return ""
