"""Words and n-grams for comparing and describing texts, in scripts with and without spaces."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

_UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
_MARKS: Final = "\u0300-\u036f\u0900-\u0dff"  # combining marks, of Indic scripts too
_WORD: Final = re.compile(rf"[{_UNSPACED}]|(?:[^\W{_UNSPACED}]|[{_MARKS}])+")


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
