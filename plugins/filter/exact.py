"""Exact duplicates: of records with equal text, the first in the order of the source survives.

Texts are compared after Unicode compatibility normalisation (NFKC, https://unicode.org/reports/tr15),
case folding and the removal of white space and punctuation, as in CCNet (Wenzek et al. 2020,
https://arxiv.org/abs/1911.00359, section 3.1), whose digits also become 0; here they count.
A text without letters and digits is compared as it is.
"""

import hashlib
import unicodedata
from dataclasses import dataclass

from etude import Record, plugin
from etude.config import FilterConfig
from etude.data import Drop, Filter, document_of


@dataclass
class ExactConfig(FilterConfig):
    normalize: bool = True
    """Ignore case, white space, punctuation and Unicode variants; false = compare every character.
    """


class _Kept(dict[int, int | None]):
    """A table for `str.translate` that removes all except letters, marks and numbers."""

    def __missing__(self, code: int) -> int | None:
        self[code] = code if unicodedata.category(chr(code))[0] in "LMN" else None
        return self[code]


_KEPT = _Kept()


def normalized(text: str) -> str:
    """The letters, marks and digits of a text, case-folded, or the text itself if it has none."""
    return unicodedata.normalize("NFKC", text).casefold().translate(_KEPT) or text


@plugin(ExactConfig)
class Exact(Filter[ExactConfig]):
    """Drops a record whose text equals that of an earlier one."""

    def __init__(self, config: ExactConfig) -> None:
        super().__init__(config)
        self._seen: dict[bytes, tuple[int, int]] = {}
        """The number of the first record with a text, and how many there are, by its hash."""
        self._n = 0

    def decide(self, record: Record) -> Drop | None:
        text = document_of(record)
        compared = normalized(text) if self.config.normalize else text
        key = hashlib.blake2b(compared.encode(), digest_size=16).digest()
        first, n_equal = self._seen.get(key, (self._n, 0))
        self._seen[key] = first, n_equal + 1
        self._n += 1
        return Drop("duplicate", n_equal + 1, 1, other=first) if n_equal else None
