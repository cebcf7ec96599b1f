"""The contract of the group `filter`: decides which records stay, and how they change."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Generic, TypeAlias, TypeVar

from etude.config.schema.filter import FilterConfig
from etude.data.record_file import texts_of
from etude.records import Record

SPAN_CHARS: Final = 200
FilterC = TypeVar("FilterC", bound=FilterConfig)


@dataclass(frozen=True)
class Drop:
    """The decision that a record is left out."""

    rule: str
    """The rule that it breaks, in a word or two: counts are by rule."""
    number: float
    """The number that the rule measured."""
    threshold: float
    """The number that the rule allows."""
    detail: str = ""
    """What was found, such as the overlapping text."""
    other: int | None = None
    """The number of the record that it duplicates, as `Filter.decide` received it."""


@dataclass(frozen=True)
class Edit:
    """A change of one span of a record's text."""

    rule: str
    before: str
    """The span before; empty where it must not be stored, such as personal data."""
    after: str
    number: float = 1.0
    threshold: float = 0.0

    @classmethod
    def of_text(cls, rule: str, before: str, after: str, number: float = 1.0) -> "Edit":
        """The span from the first to the last difference, cut to SPAN_CHARS characters.

        With the character next to it if nothing was there before.
        """
        start = _n_common(before, after)
        shorter = min(len(before), len(after)) - start
        end = min(shorter, _n_common(before[::-1], after[::-1]))
        if start + end == len(before):
            start, end = max(0, start - 1), end - (start == 0)
        old, new = (text[start : len(text) - end][:SPAN_CHARS] for text in (before, after))
        return cls(rule, old, new, number)


@dataclass(frozen=True)
class Change:
    """The decision that a record is replaced by another of its kind."""

    record: Record
    edits: Sequence[Edit]
    """At least one; a record is counted once for each rule of its edits."""


Decision: TypeAlias = Drop | Change | None
"""None keeps a record as it is."""


class Filter(ABC, Generic[FilterC]):
    """The group `filter`: decides which records stay, and how they change."""

    observes: ClassVar[bool] = False
    """Whether it needs all records before its first decision."""
    per_record: ClassVar[bool] = False
    """Whether a decision depends on its record alone, so that several processes may decide."""

    def __init__(self, config: FilterC) -> None:
        self.config = config

    def observe(self, records: Iterable[Record]) -> None:
        """Called once, before the decisions, with all records in order, if `observes` is set."""

    @abstractmethod
    def decide(self, record: Record) -> Decision:
        """The decision about a record.

        Called once for each record, in order. It may depend on the records before it, but on no
        randomness, time or process. A filter that judges documents reads `document_of`.
        """

    def fingerprint(self) -> str:
        """A digest of everything that it reads besides the records, such as files; empty if none.

        Raises DataError or ConfigError for what does not exist.
        """
        return ""


def document_of(record: Record) -> str:
    """All texts of a record as one document, with an empty line between two."""
    return "\n\n".join(texts_of(record))


def _n_common(one: str, other: str) -> int:
    """The number of characters at the start that two texts have in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
