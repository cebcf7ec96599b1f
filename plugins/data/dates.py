"""Sums with dates: `2019-12-30 + 3 days =` is `2020-01-02`, in the calendar of today.

Each problem occurs once, so what is held out was never trained on.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from etude import Prompt, plugin, require
from etude.config import DataConfig
from etude.data import DataSource


@dataclass
class DatesConfig(DataConfig):
    first_year: int = 1990
    """Year of the earliest dates."""
    last_year: int = 2029
    """Year of the latest dates; an answer may lie beyond it."""
    max_days: int = 40
    """Most days that are added or taken away; at least 1."""
    n_problems: int = 5000
    """Number of different problems."""
    problem_seed: int = 0
    """Decides which problems; another seed gives others."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            1000 <= self.first_year <= self.last_year <= 9000,
            "first_year and last_year must be from 1000 to 9000, in order, got "
            f"{self.first_year} and {self.last_year}",
        )
        require(1 <= self.max_days <= 9999, f"max_days must be 1 to 9999, got {self.max_days}")
        require(
            2 <= self.n_problems <= self.n_possible,
            f"n_problems must be 2 to {self.n_possible} (all there are), got {self.n_problems}",
        )

    @property
    def n_dates(self) -> int:
        """How many dates there are to begin with."""
        return (date(self.last_year + 1, 1, 1) - date(self.first_year, 1, 1)).days

    @property
    def n_possible(self) -> int:
        """How many different problems there are: a date, a number of days, there or back."""
        return self.n_dates * self.max_days * 2


@plugin(DatesConfig, yields=Prompt)
class Dates(DataSource[DatesConfig]):
    """Problems are numbered, and a sample of the numbers is drawn."""

    def records(self) -> Iterator[Prompt]:
        config = self.config
        draw = random.Random(config.problem_seed)
        for number in draw.sample(range(config.n_possible), config.n_problems):
            rest, back = divmod(number, 2)
            day, n = divmod(rest, config.max_days)
            begin = date(config.first_year, 1, 1) + timedelta(day)
            days = n + 1
            end = begin - timedelta(days) if back else begin + timedelta(days)
            unit = "day" if days == 1 else "days"
            yield Prompt(f"{begin} {'-' if back else '+'} {days} {unit} =", str(end))

    def fingerprint(self) -> str:
        return ""
