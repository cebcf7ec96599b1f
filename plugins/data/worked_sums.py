"""Sums of two numbers, some answered outright, some worked out, some worked out and checked.

    347 + 285 =   632
    347 + 285 =   7+5=12, 4+8+1=13, 3+2+1=6, so 632
    347 + 285 =   7+5=12, 4+8+1=13, 3+2+1=6, so 632. check 632-285=347, so 632

Columns from the right, the carry last; as the scratchpads of Nye et al. 2021,
https://arxiv.org/abs/2112.00114. The last number is the sum, which is what `reward=numeric` reads.
A model fine-tuned on all three ways can be watched while practice chooses among them: whether its
answers get longer, and how many check themselves.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from etude import Prompt, plugin, require
from etude.config import DataConfig
from etude.data import DataSource


@dataclass
class WorkedSumsConfig(DataConfig):
    digits: int = 3
    """Digits of both numbers, 1 to 12."""
    worked: float = 0.4
    """Share of the answers that are worked out column by column."""
    checked: float = 0.2
    """Share of the answers that are worked out, and then checked by subtraction."""
    n_problems: int = 9000
    """Number of different problems."""
    problem_seed: int = 0
    """Decides which problems, and which are worked out; another seed gives others."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.digits <= 12, f"digits must be 1 to 12, got {self.digits}")
        for name, share in (("worked", self.worked), ("checked", self.checked)):
            require(0 <= share <= 1, f"{name} must be in [0, 1], got {share}")
        require(
            self.worked + self.checked <= 1,
            f"worked and checked are shares of all, got {self.worked} + {self.checked}",
        )
        require(
            2 <= self.n_problems <= self.n_possible,
            f"n_problems must be 2 to {self.n_possible} (all there are with digits={self.digits}), "
            f"got {self.n_problems}",
        )

    @property
    def n_possible(self) -> int:
        """How many different problems there are."""
        return (9 * 10 ** (self.digits - 1)) ** 2


@plugin(WorkedSumsConfig, yields=Prompt)
class WorkedSums(DataSource[WorkedSumsConfig]):
    """Problems are numbered, and a sample of the numbers is drawn."""

    def records(self) -> Iterator[Prompt]:
        config = self.config
        draw = random.Random(config.problem_seed)
        least = 10 ** (config.digits - 1)
        numbers = 9 * 10 ** (config.digits - 1)
        for problem in draw.sample(range(config.n_possible), config.n_problems):
            left, right = (least + part for part in divmod(problem, numbers))
            way = draw.random()
            answer = str(left + right)
            if way < config.worked + config.checked:
                answer = f"{columns(left, right)}, so {left + right}"
            if way < config.checked:
                answer += f". check {left + right}-{right}={left}, so {left + right}"
            yield Prompt(f"{left} + {right} =", answer)

    def fingerprint(self) -> str:
        return ""


def columns(left: int, right: int) -> str:
    """The sum of each column, from the right: `7+5=12, 4+8+1=13`."""
    steps: list[str] = []
    carry = 0
    for a, b in zip(reversed(str(left)), reversed(str(right)), strict=True):
        total = int(a) + int(b) + carry
        steps.append(f"{a}+{b}{'+1' if carry else ''}={total}")
        carry = total // 10
    return ", ".join(steps)
