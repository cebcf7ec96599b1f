"""Fuzzy recall: keys and values of several characters, `abQcdeXM?cde=`, answered by `XM`.

Poli et al. 2024 (MAD), https://arxiv.org/abs/2403.17844, section 3.1: a mixer has to compare and
return motifs, not single tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from string import ascii_lowercase, ascii_uppercase

from etude import Prompt, plugin, require
from etude.data import DataSource

from ._battery import BatteryConfig, distinct


@dataclass
class FuzzyRecallConfig(BatteryConfig):
    n_pairs: int = 6
    """Pairs of a key and a value in each problem, 2 to 26."""
    max_motif: int = 3
    """Most characters of a key or value, at least 1; all lengths are equally likely."""

    def __post_init__(self) -> None:
        require(2 <= self.n_pairs <= 26, f"n_pairs must be 2 to 26, got {self.n_pairs}")
        require(self.max_motif >= 1, f"max_motif must be at least 1, got {self.max_motif}")
        super().__post_init__()

    @property
    def n_possible(self) -> int:
        return 26**self.n_pairs


@plugin(FuzzyRecallConfig, yields=Prompt)
class FuzzyRecall(DataSource[FuzzyRecallConfig]):
    """Keys are lower-case letters, each key once; values are upper-case letters."""

    def records(self) -> Iterator[Prompt]:
        return distinct(self.config, self._problem)

    def _problem(self, draw: Random) -> Prompt:
        values: dict[str, str] = {}
        while len(values) < self.config.n_pairs:
            values[self._motif(draw, ascii_lowercase)] = self._motif(draw, ascii_uppercase)
        query = draw.choice(list(values))
        pairs = "".join(key + value for key, value in values.items())
        return Prompt(f"{pairs}?{query}=", values[query])

    def _motif(self, draw: Random, alphabet: str) -> str:
        return "".join(draw.choices(alphabet, k=draw.randint(1, self.config.max_motif)))

    def fingerprint(self) -> str:
        return ""
