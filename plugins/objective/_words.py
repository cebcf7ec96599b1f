"""Words of a text and their sub-words, in scripts with and without spaces."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from etude.data import LETTER, UNSPACED, Tokenizer

_WORD = re.compile(rf"[{UNSPACED}]|{LETTER}+(?:[-.'’]{LETTER}+)*|\S")
_WIDE = re.compile(rf"[{UNSPACED}\u3000-\u303f\uff00-\uffef]")


def split_words(text: str) -> list[str]:
    """The words of a text, such as e-mail, and its punctuation marks; each character of Chinese."""
    return _WORD.findall(text)


def joined(words: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The text of words, with spaces except at Chinese and the like, and the span of each word."""
    text = ""
    spans: list[tuple[int, int]] = []
    for word in words:
        if text and not _WIDE.match(text[-1]) and not _WIDE.match(word):
            text += " "
        spans.append((len(text), len(text) + len(word)))
        text += word
    return text, spans


@dataclass
class Subwords:
    """The ids of a word."""

    ids: list[int] = field(default_factory=list[int])
    own: list[int] = field(default_factory=list[int])
    """Indices of the ids that contain characters of the word, not only the space before it."""


def subwords(words: Sequence[str], tokenizer: Tokenizer) -> list[Subwords]:
    """The ids of each word, as in the text of all words; never none.

    An id that covers parts of several words is replaced by the ids of each part, and a word that
    the tokenizer drops is the unknown token.
    """
    text, spans = joined(words)
    ends = [end for _, end in spans]
    found = [Subwords() for _ in words]
    for token, (start, end) in zip(tokenizer.encode(text), tokenizer.offsets(text), strict=True):
        first = min(bisect_right(ends, start), len(words) - 1)
        last = min(bisect_right(ends, max(start, end - 1)), len(words) - 1)
        if first == last:
            found[first].ids.append(int(token))
            if start < end:
                found[first].own.append(len(found[first].ids) - 1)
            continue
        for i in range(first, last + 1):
            part = text[max(start, spans[i][0]) : min(end, spans[i][1])]
            before = len(found[i].ids)
            found[i].ids += tokenizer.encode(part).tolist()
            found[i].own += range(before, len(found[i].ids))
    vocab = tokenizer.vocab
    unknown = vocab.eos if vocab.known(vocab.unk) is None else vocab.unk
    for one in found:
        one.ids = one.ids or [unknown]
        one.own = one.own or [len(one.ids) - 1]
    return found


def word_rows(
    words: Sequence[str], tokenizer: Tokenizer, seq_len: int, which: int
) -> tuple[list[list[int]], list[list[int]]]:
    """The ids of the windows of a sentence, and in each, the places of its words.

    A place is that of the first or the last sub-word: `which` is its index, 0 or -1. A word that is
    longer than a window is cut.
    """
    vocab = tokenizer.vocab
    n_opening, room = len(vocab.opening), seq_len - len(vocab.document([]))
    found = subwords(words, tokenizer)
    rows: list[list[int]] = []
    places: list[list[int]] = []
    for window in windows([len(one.ids) for one in found], room):
        ids: list[int] = []
        places.append([])
        for one in found[window.start : window.stop]:
            places[-1].append(n_opening + min(len(ids) + one.own[which], room - 1))
            ids += one.ids
        rows.append(vocab.document(ids[:room]))
    return rows, places


def windows(sizes: Sequence[int], room: int) -> list[range]:
    """The words of each row, as many as fit `room` tokens; a longer word has a row of its own."""
    cuts = [0]
    filled = 0
    for i, size in enumerate(sizes):
        if i > cuts[-1] and filled + size > room:
            cuts.append(i)
            filled = 0
        filled += size
    return [range(*cut) for cut in pairwise([*cuts, len(sizes)])]
