"""Exact match and F1 of an answer, by the definition of SQuAD's evaluation scripts.

Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250, section 6.1; without an answer: Rajpurkar
et al. 2018, https://arxiv.org/abs/1806.03822, section 5. In text without spaces between words,
such as Chinese, every character is a word, and all punctuation is left out, as in MLQA: Lewis et
al. 2020, https://arxiv.org/abs/1910.07475, section 4.1; a bag of words, as theirs.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

from etude.data import UNSPACED

_ARTICLE = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = frozenset(string.punctuation)
_UNSPACED = re.compile(f"([{UNSPACED}])")


def words(answer: str) -> list[str]:
    """The words that count: in lower case, without punctuation and English articles."""
    text = answer.lower()
    is_unspaced = _UNSPACED.search(text) is not None
    text = "".join(
        c
        for c in text
        if c not in _PUNCTUATION and not (is_unspaced and unicodedata.category(c)[0] == "P")
    )
    return _UNSPACED.sub(r" \1 ", _ARTICLE.sub(" ", text)).split()


def exact_match(answer: str, references: Sequence[str]) -> float:
    """1 if the words are those of a reference, else 0; without references, if there are none."""
    return max(float(words(answer) == right) for right in _right_words(references))


def f1(answer: str, references: Sequence[str]) -> float:
    """Harmonic mean of precision and recall of the words, for the best reference, from 0 to 1."""
    return max(_f1(words(answer), right) for right in _right_words(references))


def _right_words(references: Sequence[str]) -> list[list[str]]:
    """The words of each reference that has some; else no words, which is then right."""
    return [found for found in map(words, references) if found] or [[]]


def _f1(found: Sequence[str], right: Sequence[str]) -> float:
    if not found or not right:
        return float(found == right)
    n_same = (Counter(found) & Counter(right)).total()
    return 2 * n_same / (len(found) + len(right))
