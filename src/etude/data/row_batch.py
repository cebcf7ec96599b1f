"""Rows of a source in batches, as they are stored, so that several processes can make them."""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from etude.data.record_json import encode
from etude.records import (
    BadRow,
    Feedback,
    Noted,
    Place,
    Preference,
    Question,
    Ranking,
    Record,
    SourceRow,
    StartOfValidation,
    Unused,
)

BATCH_BYTES: Final = 2**20
BATCH_ROWS: Final = 2**12
"""Size and number of rows that are stored together."""


@dataclass
class RowBatch:
    """Consecutive rows of a source, as they are stored."""

    lines: list[bytes] = field(default_factory=list[bytes])
    """The records, as JSON with a line break."""
    hashes: "array[float]" = field(default_factory=lambda: array("d"))
    """A hash of each record, in [0, 1)."""
    scores: "array[float]" = field(default_factory=lambda: array("d"))
    """A number of each record, in [0, 1), by which it is held out."""
    places: list[bytes] = field(default_factory=list[bytes])
    """The place of each record in the source, as JSON with a line break; empty if unknown."""
    bad: list[BadRow] = field(default_factory=list[BadRow])
    unused: Counter[str] = field(default_factory=Counter[str])
    noted: Counter[str] = field(default_factory=Counter[str])
    starts_validation: bool = False
    """Whether the rows after it are held out."""
    next_place: str = ""

    def add(self, row: SourceRow) -> None:
        """Appends a row."""
        match row:
            case Unused(part):
                self.unused[part] += 1
            case Noted(rule):
                self.noted[rule] += 1
            case StartOfValidation():
                self.starts_validation = True
            case BadRow():
                self.bad.append(row)
            case Place(place):
                self.next_place = place
            case _:
                line = encode(row) + b"\n"
                prompt = _shared_part(row)
                self.lines.append(line)
                self.places.append(f"{json.dumps(self.next_place)}\n".encode())
                self.next_place = ""
                self.hashes.append(_hash_fraction(line))
                self.scores.append(_hash_fraction(prompt) if prompt else self.hashes[-1])


def batches_of(rows: Iterable[SourceRow]) -> Iterator[RowBatch]:
    """Yields rows in batches of about BATCH_BYTES."""
    batch, n_bytes, n_rows = RowBatch(), 0, 0
    for row in rows:
        n_before = len(batch.lines)
        batch.add(row)
        n_rows += 1
        n_bytes += sum(map(len, batch.lines[n_before:]))
        if n_bytes >= BATCH_BYTES or n_rows == BATCH_ROWS or batch.starts_validation:
            yield batch
            batch, n_bytes, n_rows = RowBatch(next_place=batch.next_place), 0, 0
    yield batch


def _shared_part(record: Record) -> bytes:
    """What several records may share, a prompt or a context; empty for other kinds of record."""
    if isinstance(record, Question):
        return record.context.encode()
    if not isinstance(record, Preference | Ranking | Feedback):
        return b""
    return record.prompt.encode() if isinstance(record.prompt, str) else encode(record.prompt)


def _hash_fraction(content: bytes) -> float:
    """A number in [0, 1) that depends only on the content."""
    return int.from_bytes(hashlib.sha256(content).digest()[:6], "big") / 2**48
