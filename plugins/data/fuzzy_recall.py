"""Fuzzy recall: associative recall of keys and values of several tokens, `QxyABzK|`.

Poli et al. 2024 (MAD), https://arxiv.org/abs/2403.17844, section 3.1: a mixer has to join the
tokens of a key before it compares. In `ABxyzC...|`, the key `AB` is answered by `xyz`.

    objective=sft data=fuzzy_recall template=bare tokenizer=byte
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from etude import Chat, plugin, require
from etude.data import DataSource

from ._battery import KEYS, VALUES, BatteryConfig, distinct, questions


@dataclass
class FuzzyRecallConfig(BatteryConfig):
    n_pairs: int = 6
    """Pairs of a key and a value in a sample; each is asked for once, in random order."""
    longest: int = 3
    """Maximum number of tokens of a key, and of a value; all lengths are equally likely."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.longest >= 1, f"longest must be at least 1, got {self.longest}")
        most = len(KEYS) ** min(self.longest, 2) // 2
        require(1 <= self.n_pairs <= most, f"n_pairs must be 1 to {most}, got {self.n_pairs}")


@plugin(FuzzyRecallConfig, yields=Chat)
class FuzzyRecall(DataSource[FuzzyRecallConfig]):
    """Keys are different words of capital letters, values any words of small ones."""

    def records(self) -> Iterator[Chat]:
        yield from distinct(self.config, self._draw)

    def _draw(self, rng: random.Random) -> Chat:
        pairs: dict[str, str] = {}
        while len(pairs) < self.config.n_pairs:
            pairs.setdefault(self._word(rng, KEYS), self._word(rng, VALUES))
        shown = "".join(key + value for key, value in pairs.items())
        return questions(shown, rng.sample(list(pairs.items()), len(pairs)))

    def _word(self, rng: random.Random, letters: str) -> str:
        return "".join(rng.choices(letters, k=rng.randint(1, self.config.longest)))

    def fingerprint(self) -> str:
        return ""
