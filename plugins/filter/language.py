"""Keeps texts of some languages, as py3langid recognises them: 140 languages, on one CPU core.

Lui & Baldwin 2012, https://aclanthology.org/P12-3005: naive Bayes over byte n-grams; py3langid is
its maintained version, https://github.com/adbar/py3langid. The first 10,000 characters decide.
zh includes Cantonese (yue) and Wu (wuu), which written Chinese of few words is taken for. A text
with few letters is kept, because it is too short to judge.
"""

import re
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any, Final

from etude import ConfigError, Record, plugin, require
from etude.config import FilterConfig
from etude.data import UNSPACED, Drop, Filter, document_of

JUDGED_CHARS: Final = 10_000
CHINESE: Final = frozenset({"zh", "yue", "wuu"})


@dataclass
class LanguageConfig(FilterConfig):
    keep: list[str] = field(default_factory=lambda: ["en", "zh"])
    """Languages that are kept, as ISO 639-1 codes."""
    min_probability: float = 0.5
    """Smallest probability that the text is in one of them, in [0, 1]. Typical: 0.5-0.9."""
    min_letters: int = 50
    """A text with fewer letters is kept without judging it; a character of Chinese or Japanese
    counts as three. Typical: 20-200."""

    def __post_init__(self) -> None:
        require(bool(self.keep), "keep must name at least one language")
        at_most_1 = 0 <= self.min_probability <= 1
        require(at_most_1, f"min_probability must be in [0, 1], got {self.min_probability}")
        require(self.min_letters >= 0, f"min_letters must not be negative, got {self.min_letters}")


def n_letters(text: str) -> int:
    """The letters of a text; those of scripts without spaces between words count as three."""
    return sum(map(str.isalpha, text)) + 2 * len(re.findall(f"[{UNSPACED}]", text))


@plugin(LanguageConfig, extra="clean", libraries={"py3langid"})
class Language(Filter[LanguageConfig]):
    """Drops a record whose texts together are in another language; the rule names it."""

    per_record = True

    def decide(self, record: Record) -> Drop | None:
        text = document_of(record)[:JUDGED_CHARS]
        if n_letters(text) < self.config.min_letters:
            return None
        ranked: list[tuple[str, float]] = self._identifier.rank(text)
        kept = sum(probability for name, probability in ranked if name in self._kept)
        if kept >= self.config.min_probability:
            return None
        return Drop(f"language {ranked[0][0]}", round(kept, 4), self.config.min_probability)

    def fingerprint(self) -> str:
        """The version of the library that decides."""
        return version("py3langid")

    @cached_property
    def _kept(self) -> frozenset[str]:
        """The labels of the languages that are kept. Raises ConfigError for an unknown one."""
        keep = frozenset(self.config.keep)
        known = self._identifier.labels
        if unknown := sorted(keep - set(known)):
            raise ConfigError(
                f"filter.language.keep={unknown}: py3langid does not know this code.\n"
                f"  It knows: {', '.join(sorted(known))}."
            )
        return keep | CHINESE if "zh" in keep else keep

    @cached_property
    def _identifier(self) -> Any:  # py3langid.langid.LanguageIdentifier
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
