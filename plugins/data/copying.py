"""Copying: `qkzbm=`, answered by the same letters.

Jelassi et al. 2024, https://arxiv.org/abs/2402.01032: attention learns to copy from few examples
and copies longer strings than it was trained on; a state of constant size cannot.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from string import ascii_lowercase

from etude import Prompt, plugin, require
from etude.data import DataSource

from ._battery import BatteryConfig, distinct


@dataclass
class CopyingConfig(BatteryConfig):
    min_length: int = 8
    """Fewest letters, at least 1."""
    max_length: int = 24
    """Most letters."""

    def __post_init__(self) -> None:
        require(
            1 <= self.min_length <= self.max_length,
            f"min_length must be 1 to max_length={self.max_length}, got {self.min_length}",
        )
        super().__post_init__()

    @property
    def n_possible(self) -> int:
        return 26**self.min_length


@plugin(CopyingConfig, yields=Prompt)
class Copying(DataSource[CopyingConfig]):
    """Random lower-case letters; all lengths are equally likely."""

    def records(self) -> Iterator[Prompt]:
        return distinct(self.config, self._problem)

    def _problem(self, draw: Random) -> Prompt:
        length = draw.randint(self.config.min_length, self.config.max_length)
        text = "".join(draw.choices(ascii_lowercase, k=length))
        return Prompt(f"{text}=", text)

    def fingerprint(self) -> str:
        return ""
