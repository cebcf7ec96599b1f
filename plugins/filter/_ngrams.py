"""N-grams of words for comparing documents, in scripts with and without spaces between words."""

import re
import unicodedata
from typing import Final

from ._words import LETTER, UNSPACED

_WORD: Final = re.compile(rf"[{UNSPACED}]|{LETTER}+")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation.

    In scripts without spaces between words, such as Chinese, every character is a word.
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def ngrams(words: list[str], n: int) -> list[str]:
    """Every `n` consecutive words, in order; all words if there are fewer, none of no words."""
    if not words:
        return []
    return [" ".join(words[i : i + n]) for i in range(max(1, len(words) - n + 1))]
