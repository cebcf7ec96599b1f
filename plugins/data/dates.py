"""Date arithmetic in the Gregorian calendar: `2019-12-30 + 3 days =` is `2020-01-02`.

Each problem occurs once, so held-out problems are never trained on.
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
    """First year of the start dates."""
    last_year: int = 2029
    """Last year of the start dates; answers may lie outside the range."""
    max_days: int = 40
    """Maximum number of days added or subtracted; at least 1."""
    n_problems: int = 5000
    """Number of distinct problems."""
    problem_seed: int = 0
    """Seed that selects the problems."""

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
            f"n_problems must be 2 to {self.n_possible} (all that exist), got {self.n_problems}",
        )

    @property
    def n_dates(self) -> int:
        """Number of start dates."""
        return (date(self.last_year + 1, 1, 1) - date(self.first_year, 1, 1)).days

    @property
    def n_possible(self) -> int:
        """Number of distinct problems that exist: start date, number of days, sign."""
        return self.n_dates * self.max_days * 2


@plugin(DatesConfig, yields=Prompt)
class Dates(DataSource[DatesConfig]):
    """Draws problems without replacement from the numbered set of all problems."""

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
