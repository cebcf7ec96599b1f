"""Near duplicates by MinHash: of documents with almost the same n-grams, the first survives.

Broder 1997, https://doi.org/10.1109/SEQUEN.1997.666900: the share of equal minima in two signatures
estimates the Jaccard similarity of the n-grams of two documents, with a standard deviation of
sqrt(s (1 - s) / permutations). Signatures and their index by bands are rensa's,
https://github.com/beowolx/rensa. Deviations from the usual pipeline (Lee et al. 2022,
https://arxiv.org/abs/2107.06499): candidates are compared by their whole signatures, not by a band
alone; and a document is compared with those that were kept, so each dropped one has a survivor that
it resembles, where connected components also drop what only resembles a dropped one.
"""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from etude import Record, plugin, require
from etude.config import FilterConfig
from etude.data import Drop, Filter, document_of, ngrams, words_of

RECALL = 0.99
"""Least probability that two documents at the threshold are compared."""
SEED = 1


@dataclass
class MinhashConfig(FilterConfig):
    threshold: float = 0.8
    """Least estimated Jaccard similarity of a duplicate, in (0, 1]. Typical: 0.7-0.9."""
    ngram: int = 5
    """Words of an n-gram; a Chinese character is a word. Typical: 3-13."""
    permutations: int = 128
    """Length of a signature. More estimate the similarity better, in more time. Typical: 64-256."""

    def __post_init__(self) -> None:
        require(0 < self.threshold <= 1, f"threshold must be in (0, 1], got {self.threshold}")
        require(self.ngram >= 1, f"ngram must be at least 1, got {self.ngram}")
        require(
            1 <= self.permutations <= 4096,
            f"permutations must be 1 to 4096, got {self.permutations}",
        )


def n_bands(permutations: int, threshold: float) -> int:
    """The fewest equal bands of a signature that find RECALL of the pairs at the threshold.

    Two documents of similarity s are candidates with probability 1 - (1 - s^rows)^bands.
    """
    bands = (n for n in range(1, permutations + 1) if permutations % n == 0)
    found = (n for n in bands if 1 - (1 - threshold ** (permutations // n)) ** n >= RECALL)
    return next(found, permutations)


@plugin(MinhashConfig, extra="clean", libraries={"rensa"})
class Minhash(Filter[MinhashConfig]):
    """Drops a document that resembles an earlier one; keeps a signature of each survivor."""

    def __init__(self, config: MinhashConfig) -> None:
        super().__init__(config)
        import rensa  # an extra

        self._rensa: Any = rensa  # without types
        n = config.permutations
        self._index = self._rensa.RMinHashLSH(config.threshold, n, n_bands(n, config.threshold))
        self._signatures: dict[int, Any] = {}
        self._n = 0

    def decide(self, record: Record) -> Drop | None:
        self._n += 1
        grams = ngrams(words_of(document_of(record)), self.config.ngram)
        if not grams:
            return None
        signature = self._rensa.RMinHash(self.config.permutations, SEED)
        signature.update(grams)
        found = {i: signature.jaccard(self._signatures[i]) for i in self._index.query(signature)}
        other = min(found, key=lambda i: (-found[i], i), default=None)
        if other is not None and found[other] >= self.config.threshold:
            number, least = round(found[other], 4), self.config.threshold
            return Drop("near duplicate", number, least, other=other)
        self._signatures[self._n - 1] = signature
        self._index.insert(self._n - 1, signature)
        return None

    def fingerprint(self) -> str:
        """The version of the library whose hashes decide."""
        return version("rensa")
