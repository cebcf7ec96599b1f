"""Words and n-grams for comparing and describing texts, in scripts with and without spaces."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9d"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
"""Ranges of characters, as in a regular expression, whose words are not separated by spaces."""
MARKS: Final = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0963\u0966-\u0dff"
"""Vowel signs and accents, which belong to a word but are no letters."""
LETTER: Final = rf"(?:[^\W{UNSPACED}]|[{MARKS}])"
"""A character of a word in scripts with spaces, as a regular expression."""
_WORD: Final = re.compile(rf"[{UNSPACED}]|{LETTER}+")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation.

    In scripts without spaces between words, such as Chinese, every character is a word.
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def ngrams(words: Sequence[str], n: int) -> list[str]:
    """Every `n` consecutive words, in order; all words if there are fewer, none of no words."""
    if not words:
        return []
    return [" ".join(words[i : i + n]) for i in range(max(1, len(words) - n + 1))]
