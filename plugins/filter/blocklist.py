"""Drops records with words of a list, such as harmful ones.

As the last rule of C4, https://jmlr.org/papers/v21/20-074.html, section 2.2, but with a number of
hits that is allowed: single words also occur in news, law and medicine, and C4's list removed texts
by and about minorities (Dodge et al. 2021, https://arxiv.org/abs/2104.08758). No list ships with
étude; C4's has a file for each of 28 languages:
https://github.com/LDNOOBW/List-of-Dirty-Naughty-Obscene-and-Otherwise-Bad-Words.

An entry is found as whole words, in any case; one with a character of a script without spaces, such
as Chinese, is found wherever its characters are.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from etude import DataError, Record, plugin, require
from etude.config import FilterConfig
from etude.data import LETTER, MARKS, UNSPACED, Drop, Filter, document_of

SHOWN_WORDS = 5


@dataclass
class BlocklistConfig(FilterConfig):
    path: str | None = None
    """File with one word or phrase per line, in UTF-8; lines that begin with # are comments. null
    = only `words`."""
    words: list[str] = field(default_factory=list[str])
    """Further words and phrases."""
    max_hits: int = 0
    """Most occurrences of words of the list in a record. Typical: 0-5."""

    def __post_init__(self) -> None:
        require(self.max_hits >= 0, f"max_hits must not be negative, got {self.max_hits}")


def normalized(text: str) -> str:
    """A text in Unicode's compatibility form and without case, with a space for punctuation."""
    return " ".join(re.findall(rf"[\w{MARKS}]+", unicodedata.normalize("NFKC", text).casefold()))


@plugin(BlocklistConfig, example={"path": "{file}word # of a list"})
class Blocklist(Filter[BlocklistConfig]):
    """Drops a record with more than `max_hits`; the audit has the words and their counts."""

    per_record = True

    def decide(self, record: Record) -> Drop | None:
        found = Counter(self.hits(normalized(document_of(record))))
        if found.total() <= self.config.max_hits:
            return None
        shown = ", ".join(f"{word} ({n})" for word, n in found.most_common(SHOWN_WORDS))
        return Drop("listed words", found.total(), self.config.max_hits, detail=shown)

    def hits(self, text: str) -> Iterator[str]:
        """Yields each occurrence of an entry in a normalised text."""
        words = re.findall(f"{LETTER}+", text)
        for entries, parts, gap in ((self._spaced, words, " "), (self._unspaced, text, "")):
            for n in sorted({entry.count(gap) + 1 if gap else len(entry) for entry in entries}):
                spans = (gap.join(parts[i : i + n]) for i in range(len(parts) - n + 1))
                yield from (span for span in spans if span in entries)

    def fingerprint(self) -> str:
        return hashlib.sha256("\n".join(sorted(self._entries)).encode()).hexdigest()

    @cached_property
    def _entries(self) -> frozenset[str]:
        """The entries of the file and of the config. Raises DataError if there are none."""
        lines: list[str] = []
        if self.config.path is not None:
            try:
                lines = Path(self.config.path).expanduser().read_text("utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(
                    f"filter.blocklist.path={self.config.path} cannot be read: {error}"
                ) from error
        listed = (*(line for line in lines if not line.startswith("#")), *self.config.words)
        entries = frozenset(filter(None, map(normalized, listed)))
        if not entries:
            raise DataError(
                f"filter.blocklist has no words (path={self.config.path}).\n"
                "  Set filter.blocklist.path=<file with a word per line> or "
                "filter.blocklist.words=[one,another]."
            )
        return entries

    @cached_property
    def _unspaced(self) -> frozenset[str]:
        """The entries with a character of a script without spaces, which are found anywhere."""
        return frozenset(one for one in self._entries if re.search(f"[{UNSPACED}]", one))

    @cached_property
    def _spaced(self) -> frozenset[str]:
        return self._entries - self._unspaced
