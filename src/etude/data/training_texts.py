"""The texts that a tokenizer is trained on.

Very long words are cut: byte-pair and unigram trainers take time that is quadratic in the length of
a word, and text without spaces, such as DNA or base64, is a single word.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

MAX_WORD_CHARS: Final = 256
_CLASSES: Final = (r"\w", r"\s", r"[^\w\s]")  # no trained tokenizer joins these in a word
_WORD: Final = re.compile("|".join(f"{one}+" for one in _CLASSES))
_SHORT_WORDS: Final = re.compile(
    "(?:" + "|".join(f"{one}{{1,{MAX_WORD_CHARS}}}+(?!{one})" for one in _CLASSES) + ")*+"
)


class TrainingTexts:
    """Iterates over texts, split inside the words that are longer than MAX_WORD_CHARS."""

    def __init__(self, texts: Callable[[], Iterator[str]]) -> None:
        self._texts = texts
        self.n_cut_words = 0
        """Words that the last pass has cut so far."""

    def __call__(self) -> Iterator[str]:
        """Starts one pass."""
        self.n_cut_words = 0
        for text in self._texts():
            yield from self._parts(text)

    def _parts(self, text: str) -> Iterator[str]:
        done = position = 0
        while (position := _end(_SHORT_WORDS, text, position)) < len(text):
            self.n_cut_words += 1
            end = _end(_WORD, text, position)
            for cut in range(position + MAX_WORD_CHARS, end, MAX_WORD_CHARS):
                yield text[done:cut]
                done = cut
            position = end
        yield text[done:]


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    """The end of the match that starts at `start`; there always is one."""
    match = pattern.match(text, start)
    assert match
    return match.end()
