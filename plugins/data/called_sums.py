"""Sums of two long numbers, answered directly or by a call of a calculator.

    4821 + 9081 =   13902
    4821 + 9081 =   [4821+9081](13902)13902

A small network learns to copy numbers long before it learns to add them, so only the second form is
correct. Fine-tuning on both teaches the form of a call, with results in the text; in RL with
`environment=calculator` the environment writes the result, and the reward favours the second form.
The last number is the sum, which is what `reward=numeric` reads.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from etude import Prompt, plugin, require
from etude.data import DataSource

from ._sums import SumsConfig, sums


@dataclass
class CalledSumsConfig(SumsConfig):
    digits: int = 4
    """Digits of both numbers, 1 to 12."""
    called: float = 0.3
    """Fraction of the answers that call the calculator."""
    call: str = "<calc>{}</calc>"
    """A call, with its input for {}; as environment.opening and .closing."""
    result: str = "<result>{}</result>"
    """The result after a call, for {}; as environment.result."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.called <= 1, f"called must be in [0, 1], got {self.called}")
        for name in ("call", "result"):
            text = vars(self)[name]
            require(text.count("{}") == 1, f"{name} must contain {{}} once, got {text!r}")


@plugin(CalledSumsConfig, yields=Prompt)
class CalledSums(DataSource[CalledSumsConfig]):
    """Draws problems without replacement from the numbered set of all problems."""

    def records(self) -> Iterator[Prompt]:
        config = self.config
        for left, right, form in sums(config):
            answer = str(left + right)
            if form < config.called:
                call = config.call.replace("{}", f"{left}+{right}")
                answer = f"{call}{config.result.replace('{}', answer)}{answer}"
            yield Prompt(f"{left} + {right} =", answer)

    def fingerprint(self) -> str:
        return ""
