"""Multi-query associative recall: `AfKqBx|`, then `K` is answered by `q`, `B` by `x`, ...

Arora et al. 2023 (Zoology), https://arxiv.org/abs/2312.04927, section 4: it separates attention
from mixers whose state is too small for all pairs. With noise: Poli et al. 2024 (MAD),
https://arxiv.org/abs/2403.17844, section 3.1. Every answer is one token of a byte tokenizer.

    objective=sft data=mqar template=bare tokenizer=byte
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from etude import Chat, plugin, require
from etude.data import DataSource

from ._battery import KEYS, VALUES, BatteryConfig, distinct, questions

NOISE = "0123456789"


@dataclass
class MqarConfig(BatteryConfig):
    n_pairs: int = 8
    """Pairs of a key and a value in a sample, 1 to 26."""
    n_queries: int | None = None
    """Keys that are asked for, in random order; null = all."""
    n_noise: int = 0
    """Meaningless tokens between the pairs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        n = self.n_pairs
        require(1 <= n <= len(KEYS), f"n_pairs must be 1 to {len(KEYS)}, got {n}")
        asked = n if self.n_queries is None else self.n_queries
        require(1 <= asked <= n, f"n_queries must be 1 to n_pairs={n}, got {asked}")
        require(self.n_noise >= 0, f"n_noise must be 0 or more, got {self.n_noise}")


@plugin(MqarConfig, yields=Chat)
class Mqar(DataSource[MqarConfig]):
    """Keys are different capital letters, values any small ones; noise is made of digits."""

    def records(self) -> Iterator[Chat]:
        yield from distinct(self.config, self._draw)

    def _draw(self, rng: random.Random) -> Chat:
        config = self.config
        pairs = [(key, rng.choice(VALUES)) for key in rng.sample(KEYS, config.n_pairs)]
        shown = ["".join(pair) for pair in pairs] + rng.choices(NOISE, k=config.n_noise)
        if config.n_noise:
            rng.shuffle(shown)
        return questions("".join(shown), rng.sample(pairs, config.n_queries or config.n_pairs))

    def fingerprint(self) -> str:
        return ""
