"""State tracking: which cup holds the ball after a series of swaps? `cabf` is answered by `3`.

Merrill et al. 2024 (The Illusion of State), https://arxiv.org/abs/2404.08819, section 5: the word
problem of the permutations of five objects is hard for transformers and for linear recurrences
with non-negative diagonal state, and easy for a recurrence that can permute. Here one object is
followed. With two cups it is the parity of the swaps.

    objective=sft data=state_tracking template=bare tokenizer=byte
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from etude import Prompt, plugin, require
from etude.data import DataSource

from ._battery import VALUES, BatteryConfig, distinct

N_CUPS = range(2, 8)


@dataclass
class StateTrackingConfig(BatteryConfig):
    n_cups: int = 5
    """Number of cups, 2 to 7; 2 = parity."""
    min_length: int = 4
    """Minimum number of moves."""
    max_length: int = 16
    """Maximum number of moves; all lengths are equally likely."""

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = N_CUPS[0], N_CUPS[-1]
        require(self.n_cups in N_CUPS, f"n_cups must be {low} to {high}, got {self.n_cups}")
        require(
            1 <= self.min_length <= self.max_length,
            f"min_length must be 1 to max_length={self.max_length}, got {self.min_length}",
        )


@plugin(StateTrackingConfig, yields=Prompt)
class StateTracking(DataSource[StateTrackingConfig]):
    """A move is a letter: a swaps nothing, b the cups 0 and 1, c 0 and 2, ... The ball is in 0."""

    def records(self) -> Iterator[Prompt]:
        yield from distinct(self.config, self._draw)

    def _draw(self, rng: random.Random) -> Prompt:
        config = self.config
        swaps = [(0, 0), *combinations(range(config.n_cups), 2)]
        moves = rng.choices(range(len(swaps)), k=rng.randint(config.min_length, config.max_length))
        ball = 0
        for one, other in (swaps[move] for move in moves):
            ball = {one: other, other: one}.get(ball, ball)
        return Prompt("".join(VALUES[move] for move in moves), str(ball))

    def fingerprint(self) -> str:
        return ""
