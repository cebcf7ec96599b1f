"""Words, sentences and duplicates of a text, for rules that count them in any script.

In scripts with spaces a word is a run of letters and digits, with what joins them: `foo.bar`,
`3.14`, `do`+`n't`; other characters are tokens of their own. This is near spaCy's English
tokenizer, which datatrove uses. Scripts without spaces (Han, kana, Thai and others) are cut into
characters, two of which count as a word: Chinese words have 1.7 characters on average in the
corpora of Emerson 2005, https://aclanthology.org/I05-3017.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final

from etude.data import LETTER, UNSPACED, Drop

CHARS_PER_WORD: Final = 2
"""Characters that count as one word where no space separates words."""
WIDE_ENDS: Final = "。．！？｡"
"""Characters that end a sentence and that no space follows."""
SENTENCE_ENDS: Final = f".!?‼‽⁇⁈⁉؟۔։।॥።။។{WIDE_ENDS}"
"""Characters that end a sentence: the common ones of Unicode's property Sentence_Terminal."""
_TOKEN: Final = re.compile(
    rf"[{UNSPACED}]"
    rf"|{LETTER}+?(?=n't\b)|(?i:n't|['’](?:s|re|ve|ll|d|m))\b"
    rf"|\w+://\S+|{LETTER}+(?:[.@+&]{LETTER}+)*"
    r"|\.{2,}|-{2,}|\S"
)
_UNSPACED: Final = re.compile(f"[{UNSPACED}]")
_SENTENCE: Final = re.compile(rf"[{WIDE_ENDS}]+|[{SENTENCE_ENDS}]+[\"'”’)\]]*(?=\s|$)")


class Words:
    """The tokens of a text: words, punctuation marks, and characters of scripts without spaces."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = _TOKEN.findall(text)
        self._n_unspaced = len(_UNSPACED.findall(text))

    def __len__(self) -> int:
        """The number of words and punctuation marks."""
        return len(self.tokens) - self._n_in_words

    @property
    def _n_in_words(self) -> int:
        """The characters that belong to the word of another one."""
        return self._n_unspaced - self._n_unspaced // CHARS_PER_WORD

    @cached_property
    def n_words(self) -> int:
        """The number of words, without punctuation marks."""
        return sum(any(map(str.isalnum, one)) for one in self.tokens) - self._n_in_words

    @property
    def is_unspaced(self) -> bool:
        """Whether most letters and digits are of scripts without spaces between words."""
        return 2 * self._n_unspaced > sum(len(one) for one in self.tokens if one.isalnum())


def n_sentences(text: str) -> int:
    """The number of sentences; an unfinished one at the end counts."""
    return sum(any(map(str.isalnum, part)) for part in _SENTENCE.split(text))


def ends_sentence(line: str, ends: str = SENTENCE_ENDS) -> bool:
    """Whether a line ends with one of the marks, or with a wide one and closing quotation marks."""
    return line.endswith(tuple(ends)) or line.rstrip("”’」』）").endswith(tuple(WIDE_ENDS))


def duplicates(parts: Sequence[str]) -> tuple[int, int]:
    """How many parts are equal to an earlier one, and how many characters they have."""
    seen: set[str] = set()
    n = n_chars = 0
    for part in parts:
        if part in seen:
            n += 1
            n_chars += len(part)
        seen.add(part)
    return n, n_chars


def above(rule: str, number: int | float, maximum: int | float | None) -> Iterator[Drop]:
    """Yields a drop if a number is above its maximum; None is no maximum."""
    if maximum is not None and number > maximum:
        yield Drop(rule, round(number, 4), maximum)


def below(rule: str, number: int | float, minimum: int | float | None) -> Iterator[Drop]:
    """Yields a drop if a number is below its minimum; None is no minimum."""
    if minimum is not None and number < minimum:
        yield Drop(rule, round(number, 4), minimum)
