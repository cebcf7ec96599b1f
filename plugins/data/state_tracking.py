"""State tracking: swaps of neighbours, `abdac=`, answered by where they leave 1 2 3 4 5.

Merrill et al. 2024, https://arxiv.org/abs/2404.08819: products of permutations of five items are
beyond any fixed number of layers of attention or of linear recurrences with diagonal transitions,
for long enough inputs. With two items it is parity. `a` swaps the first and second item, `b` the
second and third, ...; `-` swaps none. Deviation: the moves are generators of the group, not all of
its elements, and only the final state is asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from string import ascii_lowercase

from etude import Prompt, plugin, require
from etude.data import DataSource

from ._battery import BatteryConfig, distinct

IDENTITY = "-"


@dataclass
class StateTrackingConfig(BatteryConfig):
    n_items: int = 5
    """Number of items, 2 to 9: 2 = parity, 5 = the group S5."""
    min_length: int = 8
    """Fewest moves, at least 1."""
    max_length: int = 16
    """Most moves."""

    def __post_init__(self) -> None:
        require(2 <= self.n_items <= 9, f"n_items must be 2 to 9, got {self.n_items}")
        require(
            1 <= self.min_length <= self.max_length,
            f"min_length must be 1 to max_length={self.max_length}, got {self.min_length}",
        )
        super().__post_init__()

    @property
    def n_possible(self) -> int:
        return sum(self.n_items**n for n in range(self.min_length, self.max_length + 1))


@plugin(StateTrackingConfig, yields=Prompt)
class StateTracking(DataSource[StateTrackingConfig]):
    """Random moves; all lengths are equally likely."""

    def records(self) -> Iterator[Prompt]:
        return distinct(self.config, self._problem)

    def _problem(self, draw: Random) -> Prompt:
        n_items = self.config.n_items
        length = draw.randint(self.config.min_length, self.config.max_length)
        moves = draw.choices(IDENTITY + ascii_lowercase[: n_items - 1], k=length)
        items = [str(item) for item in range(1, n_items + 1)]
        for i in (ascii_lowercase.index(move) for move in moves if move != IDENTITY):
            items[i], items[i + 1] = items[i + 1], items[i]
        return Prompt(f"{''.join(moves)}=", "".join(items))

    def fingerprint(self) -> str:
        return ""
