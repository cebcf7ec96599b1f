"""Copying: `qkzb` is answered by `qkzb`; selectively, `q..k.zb` as well.

Jelassi et al. 2024, https://arxiv.org/abs/2402.01032: a state of fixed size cannot copy strings
that are longer than it holds. With `n_blanks`, selective copying: Gu and Dao 2023 (Mamba),
https://arxiv.org/abs/2312.00752, section 4.1.1, where what to keep depends on the content.

    objective=sft data=copying template=bare tokenizer=byte
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from etude import Prompt, plugin, require
from etude.data import DataSource

from ._battery import VALUES, BatteryConfig, distinct

BLANK = "."


@dataclass
class CopyingConfig(BatteryConfig):
    min_length: int = 4
    """Minimum number of letters to copy."""
    max_length: int = 16
    """Maximum number of letters to copy; all lengths are equally likely."""
    n_blanks: int = 0
    """Tokens between the letters that must not be copied."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            1 <= self.min_length <= self.max_length,
            f"min_length must be 1 to max_length={self.max_length}, got {self.min_length}",
        )
        require(self.n_blanks >= 0, f"n_blanks must be 0 or more, got {self.n_blanks}")


@plugin(CopyingConfig, yields=Prompt)
class Copying(DataSource[CopyingConfig]):
    """Letters may repeat; blanks are at random places."""

    def records(self) -> Iterator[Prompt]:
        yield from distinct(self.config, self._draw)

    def _draw(self, rng: random.Random) -> Prompt:
        config = self.config
        length = rng.randint(config.min_length, config.max_length)
        letters = rng.choices(VALUES, k=length)
        if not config.n_blanks:
            return Prompt("".join(letters), "".join(letters))
        places = set(rng.sample(range(length + config.n_blanks), length))
        rest = iter(letters)
        shown = (next(rest) if i in places else BLANK for i in range(length + config.n_blanks))
        return Prompt("".join(shown), "".join(letters))

    def fingerprint(self) -> str:
        return ""
