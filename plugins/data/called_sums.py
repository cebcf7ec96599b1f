"""Sums of two long numbers, answered directly or by a call of a calculator.

    4821 + 9081 =   13902
    4821 + 9081 =   [4821+9081](13902)13902

A small network learns to copy numbers long before it learns to add them, so only the second form is
correct. Fine-tuning on both teaches the form of a call, with results in the text; in RL with
`environment=calculator` the environment writes the result, and the reward favours the second form.
The last number is the sum, which is what `reward=numeric` reads.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from etude import Prompt, plugin, require
from etude.config import DataConfig
from etude.data import DataSource


@dataclass
class CalledSumsConfig(DataConfig):
    digits: int = 4
    """Digits of both numbers, 1 to 12."""
    called: float = 0.3
    """Fraction of the answers that call the calculator."""
    call: str = "<calc>{}</calc>"
    """A call, with its input for {}; as environment.opening and .closing."""
    result: str = "<result>{}</result>"
    """The result after a call, for {}; as environment.result."""
    n_problems: int = 9000
    """Number of distinct problems."""
    problem_seed: int = 0
    """Seed that selects the problems and the form of each answer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.digits <= 12, f"digits must be 1 to 12, got {self.digits}")
        require(0 <= self.called <= 1, f"called must be in [0, 1], got {self.called}")
        for name in ("call", "result"):
            text = vars(self)[name]
            require(text.count("{}") == 1, f"{name} must contain {{}} once, got {text!r}")
        require(
            2 <= self.n_problems <= self.n_possible,
            f"n_problems must be 2 to {self.n_possible} (all that exist with digits={self.digits}),"
            f" got {self.n_problems}",
        )

    @property
    def n_possible(self) -> int:
        """Number of distinct problems that exist."""
        return (9 * 10 ** (self.digits - 1)) ** 2


@plugin(CalledSumsConfig, yields=Prompt)
class CalledSums(DataSource[CalledSumsConfig]):
    """Draws problems without replacement from the numbered set of all problems."""

    def records(self) -> Iterator[Prompt]:
        config = self.config
        draw = random.Random(config.problem_seed)
        least = 10 ** (config.digits - 1)
        numbers = 9 * 10 ** (config.digits - 1)
        for problem in draw.sample(range(config.n_possible), config.n_problems):
            left, right = (least + part for part in divmod(problem, numbers))
            answer = str(left + right)
            if draw.random() < config.called:
                call = config.call.replace("{}", f"{left}+{right}")
                answer = f"{call}{config.result.replace('{}', answer)}{answer}"
            yield Prompt(f"{left} + {right} =", answer)

    def fingerprint(self) -> str:
        return ""
