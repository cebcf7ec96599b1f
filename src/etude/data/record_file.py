"""Stores the records of one kind in a file with random access.

The file includes the split. A record is held out by a hash of its content, so equal records are
on the same side and the order of the source does not matter. Preference data is held out by a
hash of the prompt, because other pairs of the same prompt would leak into training.
"""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from etude.errors import DataError
from etude.records import (
    BadRow,
    Chat,
    Feedback,
    Labelled,
    Message,
    Pair,
    Preference,
    Prompt,
    Ranking,
    Record,
    Text,
    Unused,
)

R = TypeVar("R", bound=Record)


class RecordFile:
    """The records of one side of the split; an `etude.data.source.Samples`."""

    def __init__(self, folder: Path, kind: type[Record], held_out: bool) -> None:
        self._arguments = (folder, kind, held_out)
        self._kind = kind
        self._file = folder / "records.jsonl"
        self._ends = np.load(folder / "ends.npy", mmap_mode="r")
        self._numbers = np.flatnonzero(np.load(folder / "held_out.npy") == held_out)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> Record:
        number = int(self._numbers[index])
        start = int(self._ends[number - 1]) if number else 0
        with self._file.open("rb") as opened:
            opened.seek(start)
            return _decode(opened.read(int(self._ends[number]) - start), self._kind)

    def __iter__(self) -> Iterator[Record]:
        """Yields all records in order, in one pass over the file."""
        is_on_side = np.zeros(len(self._ends), dtype=bool)
        is_on_side[self._numbers] = True
        with self._file.open("rb") as opened:
            for line, keep in zip(opened, is_on_side, strict=True):
                if keep:
                    yield _decode(line, self._kind)

    def __reduce__(self) -> tuple[Callable[..., "RecordFile"], tuple[Any, ...]]:
        """Pickles the path of the file, not its content, for data loader workers."""
        return RecordFile, self._arguments


def write_records(
    rows: Iterable[Record | BadRow | Unused], folder: Path, val_fraction: float
) -> None:
    """Writes records, split, bad rows and the counts of unused parts to separate files.

    Raises DataError if no row is good.
    """
    scores = array("d")
    ends = array("q")
    n_bad = 0
    unused: Counter[str] = Counter()
    first_bad = ""
    with (folder / "records.jsonl").open("wb") as good, (folder / "bad.jsonl").open("wb") as bad:
        for row in rows:
            if isinstance(row, Unused):
                unused[row.part] += 1
                continue
            line = json.dumps(_set_fields(row), default=vars, ensure_ascii=False).encode() + b"\n"
            if isinstance(row, BadRow):
                bad.write(line)
                n_bad += 1
                first_bad = first_bad or f"; the first bad row is {row.place}: {row.reason}"
            else:
                good.write(line)
                ends.append(good.tell())
                scores.append(_hash_fraction(_shared_prompt(row) or line))
    (folder / "unused.json").write_text(json.dumps(unused), encoding="utf-8")
    if not scores:
        raise DataError(f"The data contains no usable record ({n_bad} bad rows{first_bad}).")
    np.save(folder / "ends.npy", np.array(ends, dtype=np.int64))
    np.save(folder / "held_out.npy", held_out(np.array(scores), val_fraction))


def read_bad_rows(folder: Path) -> list[BadRow]:
    """The bad rows that `write_records` stored, in the order of the source."""
    with (folder / "bad.jsonl").open("rb") as opened:
        return [BadRow(**json.loads(line)) for line in opened]


def read_unused(folder: Path) -> dict[str, int]:
    """How often `write_records` met each unused part of a row."""
    return json.loads((folder / "unused.json").read_text(encoding="utf-8"))


def held_out(scores: np.ndarray, val_fraction: float) -> np.ndarray:
    """A mask of the records that are held out: those with a score below the fraction.

    If this leaves one side empty (few records), only the lowest score is held out, or all but the
    highest. Raises DataError if all records are equal.
    """
    if scores.min() == scores.max():
        raise DataError(
            "The data contains only one distinct record (of preference data: one distinct prompt), "
            "so none can be held out for validation. Add records, or split text into more "
            "documents with data.document=line."
        )
    mask = scores < val_fraction
    if not mask.any():
        return scores == scores.min()
    return mask if not mask.all() else scores < scores.max()


def texts_of(record: Record) -> tuple[str, ...]:
    """The texts of a record that the network sees, in order."""
    match record:
        case Text(text):
            return (text,)
        case Pair(source, target):
            return (source, target)
        case Chat(messages):
            return tuple(message.content for message in messages)
        case Preference(prompt, chosen, rejected):
            return (prompt, chosen, rejected)
        case Ranking(prompt, completions):
            return (prompt, *completions)
        case Feedback(prompt, completion, _):
            return (prompt, completion)
        case Prompt(prompt, answer):
            return (prompt,) if answer is None else (prompt, answer)
        case Labelled(text, _):
            return (text,) if isinstance(text, str) else text


def _set_fields(row: Record | BadRow) -> dict[str, Any]:
    """The fields of a row that differ from their defaults, so new fields do not change digests."""
    values = ((item, getattr(row, item.name)) for item in fields(row))
    return {item.name: value for item, value in values if value != item.default}


def _shared_prompt(record: Record) -> bytes:
    """The prompt of preference data, which several records may share; empty for other kinds."""
    return record.prompt.encode() if isinstance(record, Preference | Ranking | Feedback) else b""


def _hash_fraction(content: bytes) -> float:
    """A number in [0, 1) that depends only on the content."""
    return int.from_bytes(hashlib.sha256(content).digest()[:6], "big") / 2**48


def _decode(line: bytes, kind: type[Record]) -> Record:
    values: dict[str, Any] = json.loads(line)
    if kind is Chat:
        return Chat(tuple(Message(**message) for message in values["messages"]))
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)  # pyright: ignore[reportUnknownArgumentType] -- from JSON
    return kind(**values)
