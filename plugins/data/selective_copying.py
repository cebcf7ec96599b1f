"""Selective copying: `..q.k...z=`, answered by the letters without the dots, `qkz`.

Gu & Dao 2023 (Mamba), https://arxiv.org/abs/2312.00752, section 4.1.1; Poli et al. 2024 (MAD),
https://arxiv.org/abs/2403.17844, section 3.1. The distances vary, so that a mixer has to select by
content: a fixed convolution cannot.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from string import ascii_lowercase

from etude import Prompt, plugin, require
from etude.data import DataSource

from ._battery import BatteryConfig, distinct

BLANK = "."


@dataclass
class SelectiveCopyingConfig(BatteryConfig):
    length: int = 32
    """Characters of a problem, dots included."""
    n_letters: int = 8
    """Letters among them, 1 to length."""

    def __post_init__(self) -> None:
        require(
            1 <= self.n_letters <= self.length,
            f"n_letters must be 1 to length={self.length}, got {self.n_letters}",
        )
        super().__post_init__()

    @property
    def n_possible(self) -> int:
        return math.comb(self.length, self.n_letters) * 26**self.n_letters


@plugin(SelectiveCopyingConfig, yields=Prompt)
class SelectiveCopying(DataSource[SelectiveCopyingConfig]):
    """Random lower-case letters at random places."""

    def records(self) -> Iterator[Prompt]:
        return distinct(self.config, self._problem)

    def _problem(self, draw: Random) -> Prompt:
        letters = draw.choices(ascii_lowercase, k=self.config.n_letters)
        text = [BLANK] * self.config.length
        places = sorted(draw.sample(range(self.config.length), len(letters)))
        for place, letter in zip(places, letters, strict=True):
            text[place] = letter
        return Prompt(f"{''.join(text)}=", "".join(letters))

    def fingerprint(self) -> str:
        return ""
