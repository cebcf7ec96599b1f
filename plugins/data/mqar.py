"""Multi-query associative recall: `aQbXcM?c` is answered by `M`, then `a` by `Q`, ...

Arora et al. 2023 (Zoology), https://arxiv.org/abs/2312.04927, section 3.1. Attention solves it at
any size; a recurrent mixer only as far as its state holds the pairs. Each query is a turn of a
conversation: use template=bare, which has one token between turns.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from string import ascii_lowercase, ascii_uppercase

from etude import Chat, Message, plugin, require
from etude.data import DataSource

from ._battery import BatteryConfig, distinct


@dataclass
class MqarConfig(BatteryConfig):
    n_pairs: int = 8
    """Pairs of a key and a value in each problem, 2 to 26. Zoology: 4-256."""
    n_queries: int = 4
    """Different keys that are queried, 1 to n_pairs."""

    def __post_init__(self) -> None:
        require(2 <= self.n_pairs <= 26, f"n_pairs must be 2 to 26, got {self.n_pairs}")
        require(
            1 <= self.n_queries <= self.n_pairs,
            f"n_queries must be 1 to n_pairs={self.n_pairs}, got {self.n_queries}",
        )
        super().__post_init__()

    @property
    def n_possible(self) -> int:
        return math.perm(26, self.n_pairs) * 26**self.n_pairs


@plugin(MqarConfig, yields=Chat)
class Mqar(DataSource[MqarConfig]):
    """Keys are lower-case letters, each once; values are upper-case letters, which may repeat."""

    def records(self) -> Iterator[Chat]:
        return distinct(self.config, self._problem)

    def _problem(self, draw: Random) -> Chat:
        keys = draw.sample(ascii_lowercase, self.config.n_pairs)
        values = {key: draw.choice(ascii_uppercase) for key in keys}
        shown = "".join(key + value for key, value in values.items()) + "?"
        turns: list[Message] = []
        for key in draw.sample(keys, self.config.n_queries):
            turns.append(Message("user", key if turns else shown + key))
            turns.append(Message("assistant", values[key]))
        return Chat(tuple(turns))

    def fingerprint(self) -> str:
        return ""
