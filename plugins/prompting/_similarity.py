"""Similarity of texts: the cosine of their character n-grams, weighted by TF-IDF.

Salton & Buckley 1988, https://doi.org/10.1016/0306-4573(88)90021-0, with the smoothed inverse
document frequency of scikit-learn's TfidfVectorizer. Characters, not words, so that texts without
spaces, numbers and code are compared as well.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

LONGEST = 3
"""Characters of the longest n-gram."""


class Similarity:
    """Compares a text with a fixed list of texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [_ngrams(text) for text in texts]
        documents = Counter(ngram for one in counts for ngram in one)
        n = len(texts)
        self.n_texts = n
        self.weights = {k: float(np.log((1 + n) / (1 + df)) + 1) for k, df in documents.items()}
        found: dict[str, list[tuple[int, float]]] = {ngram: [] for ngram in documents}
        for i, one in enumerate(counts):
            for ngram, value in self._unit(one).items():
                found[ngram].append((i, value))
        self.index = {ngram: np.array(rows).T for ngram, rows in found.items()}

    def to(self, text: str) -> Float[np.ndarray, " text"]:
        """Returns the cosine with each text, in [0, 1]."""
        cosines = np.zeros(self.n_texts)
        for ngram, value in self._unit(_ngrams(text)).items():
            places, values = self.index[ngram]
            cosines[places.astype(int)] += value * values
        return cosines

    def _unit(self, counts: Counter[str]) -> dict[str, float]:
        """Returns the weights of the n-grams that occur in the list, as a vector of length 1."""
        values = {k: n * self.weights[k] for k, n in counts.items() if k in self.weights}
        norm = sum(value**2 for value in values.values()) ** 0.5
        return {k: value / norm for k, value in values.items()}


def _ngrams(text: str) -> Counter[str]:
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return Counter(text[i : i + n] for n in range(1, LONGEST + 1) for i in range(len(text) - n + 1))
