"""The rules that FineWeb adds to those of C4 and Gopher: lines of lists, menus and repetitions.

Penedo et al. 2024, https://arxiv.org/abs/2406.17557, section 3.6; numbers of the code,
https://github.com/huggingface/datatrove, whose limit of short lines is 0.67. Deviations: a
Chinese line may end with quotation marks after the mark that ends its sentence; where words are not
separated by spaces, a line is short at a third of the length, and two characters count as a word.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from etude import Record, plugin, require
from etude.config import FilterConfig
from etude.data import Drop, Filter, document_of

from ._words import Words, above, below, duplicates, ends_sentence

SHORTER = 3
"""How many times fewer characters a line of equal content has without spaces, about."""


@dataclass
class FinewebConfig(FilterConfig):
    min_ended_lines: float = 0.12
    """Smallest share of lines that end with the mark of the end of a sentence; 0 = no limit."""
    max_short_lines: float = 0.67
    """Largest share of lines of at most `short_line` characters; 1 = no limit."""
    short_line: int = 30
    """Length of a short line, in characters; a third of it in scripts without spaces."""
    max_duplicate_chars: float = 0.01
    """Largest share of characters in lines that are equal to an earlier one; 1 = no limit."""
    max_line_breaks: float | None = 0.3
    """Most line breaks for each word; null = no limit."""

    def __post_init__(self) -> None:
        for name in ("min_ended_lines", "max_short_lines", "max_duplicate_chars"):
            value = vars(self)[name]
            require(0 <= value <= 1, f"{name} must be in [0, 1], got {value}")
        require(self.short_line >= 0, f"short_line must not be negative, got {self.short_line}")
        limit = self.max_line_breaks
        require(limit is None or limit >= 0, f"max_line_breaks must not be negative, got {limit}")


def broken_rules(text: str, config: FinewebConfig) -> Iterator[Drop]:
    """Yields a drop for each rule that a document breaks."""
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        yield Drop("empty", 0, 1)
        return
    words = Words(text)
    share = sum(map(ends_sentence, lines)) / len(lines)
    yield from below("few ended lines", share, config.min_ended_lines)
    short = config.short_line // SHORTER if words.is_unspaced else config.short_line
    share = sum(len(line) <= short for line in lines) / len(lines)
    yield from above("short lines", share, config.max_short_lines)
    share = duplicates(lines)[1] / len(text.replace("\n", ""))
    yield from above("duplicate line chars", share, config.max_duplicate_chars)
    yield from above("line breaks", text.count("\n") / max(1, len(words)), config.max_line_breaks)


@plugin(FinewebConfig)
class Fineweb(Filter[FinewebConfig]):
    """Drops documents that break a rule."""

    per_record = True

    def decide(self, record: Record) -> Drop | None:
        return next(broken_rules(document_of(record), self.config), None)
