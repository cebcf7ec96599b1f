"""Sums of two numbers, answered directly, worked out, or worked out and checked.

    347 + 285 =   632
    347 + 285 =   7+5=12, 4+8+1=13, 3+2+1=6, so 632
    347 + 285 =   7+5=12, 4+8+1=13, 3+2+1=6, so 632. check 632-285=347, so 632

With data.cue, the question says which of them is wanted, as for prompting=chain_of_thought.
Columns run from the right, with the carry last, like the scratchpads of Nye et al. 2021,
https://arxiv.org/abs/2112.00114. The last number is the sum, which is what `reward=numeric` reads.
After fine-tuning on all three forms, RL shows which of them it favours: whether answers become
longer, and how many include a check.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from etude import Prompt, plugin, require
from etude.data import DataSource

from ._sums import SumsConfig, sums


@dataclass
class WorkedSumsConfig(SumsConfig):
    worked: float = 0.4
    """Fraction of the answers that are worked out column by column."""
    checked: float = 0.2
    """Fraction of the answers that are worked out and then checked by subtraction."""
    cue: str = ""
    """Sentence after a question whose answer is worked out, such as "Let's think step by step.";
    empty = none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, share in (("worked", self.worked), ("checked", self.checked)):
            require(0 <= share <= 1, f"{name} must be in [0, 1], got {share}")
        require(
            self.worked + self.checked <= 1,
            f"worked + checked must be at most 1, got {self.worked} + {self.checked}",
        )


@plugin(WorkedSumsConfig, yields=Prompt)
class WorkedSums(DataSource[WorkedSumsConfig]):
    """Draws problems without replacement from the numbered set of all problems."""

    def records(self) -> Iterator[Prompt]:
        config = self.config
        for left, right, form in sums(config):
            question, answer = f"{left} + {right} =", str(left + right)
            if form < config.worked + config.checked:
                question = f"{question} {config.cue}".rstrip()
                answer = f"{columns(left, right)}, so {left + right}"
            if form < config.checked:
                answer += f". check {left + right}-{right}={left}, so {left + right}"
            yield Prompt(question, answer)

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
