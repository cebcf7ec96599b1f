"""Drops records that are too short or too long, by their characters."""

from dataclasses import dataclass

from etude import Record, plugin, require
from etude.config import FilterConfig
from etude.data import Drop, Filter, document_of

from ._words import above, below


@dataclass
class LengthConfig(FilterConfig):
    min_chars: int = 200
    """Fewest characters of all texts of a record together, without the space around them. Typical:
    100-500 for English, a third of it for Chinese."""
    max_chars: int | None = None
    """Most characters; null = no limit."""

    def __post_init__(self) -> None:
        require(self.min_chars >= 1, f"min_chars must be at least 1, got {self.min_chars}")
        require(
            self.max_chars is None or self.max_chars >= self.min_chars,
            f"max_chars must be at least min_chars={self.min_chars}, got {self.max_chars}",
        )


@plugin(LengthConfig)
class Length(Filter[LengthConfig]):
    """Drops records outside the bounds; cuts none."""

    per_record = True

    def decide(self, record: Record) -> Drop | None:
        n_chars = len(document_of(record).strip())
        short = below("too short", n_chars, self.config.min_chars)
        return next(short, None) or next(above("too long", n_chars, self.config.max_chars), None)
