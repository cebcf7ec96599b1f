"""The quality and repetition rules of Gopher, for documents of the web.

Rae et al. 2021, https://arxiv.org/abs/2112.11446, section A.1.1 and table A1; ambiguous points are
read as in datatrove, https://github.com/huggingface/datatrove: punctuation marks count as words in
shares, and a repeated n-gram is counted without overlap. Where words are not separated by spaces,
as in Chinese, two characters count as a word, n-grams have 2n characters, and the mean length of
words is not judged (see `_words.py`). The first rule that a document breaks is reported.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields

from etude import Record, plugin, require
from etude.config import FilterConfig
from etude.data import Drop, Filter, document_of

from ._words import CHARS_PER_WORD, Words, above, below, duplicates

ELLIPSES = ("...", "…")
CHINESE = "的是在了和有不这"
"""Chinese stop words, each a character."""


@dataclass
class GopherConfig(FilterConfig):
    min_words: int | None = 50
    """Fewest words of a document, without punctuation marks; null = no limit, here and below."""
    max_words: int | None = 100_000
    """Most words of a document."""
    min_word_chars: float | None = 3.0
    """Smallest mean length of words, in characters."""
    max_word_chars: float | None = 10.0
    """Largest mean length of words, in characters."""
    max_symbols: float | None = 0.1
    """Most # characters, and most ellipses, for each word."""
    max_bullet_lines: float | None = 0.9
    """Largest share of lines that begin with • or -."""
    max_ellipsis_lines: float | None = 0.3
    """Largest share of lines that end with an ellipsis."""
    min_alphabetic: float | None = 0.8
    """Smallest share of words with a letter; punctuation marks count as words without one."""
    min_stop_words: int | None = 2
    """Fewest different stop words. For other languages than `stop_words`: null, or their words."""
    stop_words: list[str] = field(
        default_factory=lambda: ["the", "be", "to", "of", "and", "that", "have", "with", *CHINESE]
    )
    """Frequent words, as a text of quality contains them: Gopher's English ones, and Chinese ones.
    Where no spaces separate words, each must be a single character."""
    max_duplicate_lines: float | None = 0.3
    """Largest share of lines that are equal to an earlier one."""
    max_duplicate_paragraphs: float | None = 0.3
    """Largest share of paragraphs that are equal to an earlier one."""
    max_duplicate_line_chars: float | None = 0.2
    """Largest share of characters in such lines."""
    max_duplicate_paragraph_chars: float | None = 0.2
    """Largest share of characters in such paragraphs."""
    max_top_ngram: list[float] = field(default_factory=lambda: [0.20, 0.18, 0.16])
    """Largest share of characters in the most frequent 2-gram, 3-gram, and so on; [] = no limit."""
    max_duplicate_ngrams: list[float] = field(
        default_factory=lambda: [0.15, 0.14, 0.13, 0.12, 0.11, 0.10]
    )
    """Largest share of characters in n-grams that occurred before, from 5-grams; [] = no limit."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = vars(self)[item.name]
            numbers = [value] if isinstance(value, int | float) else value or []
            if item.name != "stop_words":
                require(all(one >= 0 for one in numbers), f"{item.name} must not be negative")


def quality(text: str, words: Words, config: GopherConfig) -> Iterator[Drop]:
    """Yields a drop for each broken rule about words, symbols and lines."""
    yield from below("few words", words.n_words, config.min_words)
    yield from above("many words", words.n_words, config.max_words)
    if not words.is_unspaced:
        lengths = [len(one) for one in words.tokens if any(map(str.isalnum, one))]
        mean = sum(lengths) / max(1, len(lengths))
        yield from below("short words", mean, config.min_word_chars)
        yield from above("long words", mean, config.max_word_chars)
    n_words = max(1, len(words))
    yield from above("hashes", text.count("#") / n_words, config.max_symbols)
    n_ellipses = sum(map(text.count, ELLIPSES))
    yield from above("ellipses", n_ellipses / n_words, config.max_symbols)
    lines = text.splitlines() or [""]
    n_bullets = sum(line.lstrip().startswith(("•", "-")) for line in lines)
    yield from above("bullet lines", n_bullets / len(lines), config.max_bullet_lines)
    n_cut = sum(line.rstrip().endswith(ELLIPSES) for line in lines)
    yield from above("ellipsis lines", n_cut / len(lines), config.max_ellipsis_lines)
    n_alphabetic = sum(any(map(str.isalpha, one)) for one in words.tokens)
    share = n_alphabetic / max(1, len(words.tokens))
    yield from below("few alphabetic words", share, config.min_alphabetic)
    n_stop_words = len(set(config.stop_words) & set(words.tokens))
    yield from below("few stop words", n_stop_words, config.min_stop_words)


def repetition(text: str, words: Words, config: GopherConfig) -> Iterator[Drop]:
    """Yields a drop for each broken rule about repeated lines, paragraphs and n-grams."""
    n_chars = max(1, len(text))
    paragraphs = re.split(r"\n{2,}", text.strip())
    n, in_them = duplicates(paragraphs)
    share = n / len(paragraphs)
    yield from above("duplicate paragraphs", share, config.max_duplicate_paragraphs)
    share = in_them / n_chars
    yield from above("duplicate paragraph chars", share, config.max_duplicate_paragraph_chars)
    lines = re.split(r"\n+", text)
    n, in_them = duplicates(lines)
    yield from above("duplicate lines", n / len(lines), config.max_duplicate_lines)
    yield from above("duplicate line chars", in_them / n_chars, config.max_duplicate_line_chars)
    gap = "" if words.is_unspaced else " "
    scale = CHARS_PER_WORD if words.is_unspaced else 1
    for n, limit in enumerate(config.max_top_ngram, 2):
        share = top_ngram_chars(words.tokens, n * scale, gap) / n_chars
        yield from above(f"top {n}-gram", share, limit)
    for n, limit in enumerate(config.max_duplicate_ngrams, 5):
        share = duplicate_ngram_chars(words.tokens, n * scale) / n_chars
        yield from above(f"duplicate {n}-grams", share, limit)


def top_ngram_chars(tokens: Sequence[str], n: int, gap: str) -> int:
    """The number of characters in all occurrences of the most frequent n-gram, with its gaps."""
    grams = Counter(zip(*(tokens[i:] for i in range(n)), strict=False))
    if not grams:
        return 0
    gram, count = grams.most_common(1)[0]
    return len(gap.join(gram)) * count


def duplicate_ngram_chars(tokens: Sequence[str], n: int) -> int:
    """The number of characters in n-grams that occurred before; those do not overlap."""
    seen: set[str] = set()
    n_chars = i = 0
    while i + n <= len(tokens):
        gram = "".join(tokens[i : i + n])
        is_known = gram in seen
        n_chars += len(gram) * is_known
        seen.add(gram)
        i += n if is_known else 1
    return n_chars


@plugin(GopherConfig)
class Gopher(Filter[GopherConfig]):
    """Drops documents that break a rule."""

    per_record = True

    def decide(self, record: Record) -> Drop | None:
        text = document_of(record)
        words = Words(text)
        for rules in (quality, repetition):
            for broken in rules(text, words, self.config):
                return broken
        return None
