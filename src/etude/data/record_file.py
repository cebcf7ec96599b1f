"""Records of one kind in a file: any of them can be read without reading the others.

The split is part of it: a record is held out by a hash of its content, so that equal records
are on the same side and the order of the source does not matter. What is preferred is held out
by a hash of its prompt: a prompt's other pairs would tell of it.
"""

import hashlib
import json
from array import array
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
)

R = TypeVar("R", bound=Record)


class RecordFile:
    """The records of one split; `etude.data.source.Samples` of that kind."""

    def __init__(self, folder: Path, kind: type[Record], held_out: bool) -> None:
        self._made_of = (folder, kind, held_out)
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
            return _decoded(opened.read(int(self._ends[number]) - start), self._kind)

    def __iter__(self) -> Iterator[Record]:
        """All in order, in one reading of the file."""
        wanted = np.zeros(len(self._ends), dtype=bool)
        wanted[self._numbers] = True
        with self._file.open("rb") as opened:
            for line, is_wanted in zip(opened, wanted, strict=True):
                if is_wanted:
                    yield _decoded(line, self._kind)

    def __reduce__(self) -> tuple[Callable[..., "RecordFile"], tuple[Any, ...]]:
        """Loader workers get the file's place, not its content."""
        return RecordFile, self._made_of


def write_records(rows: Iterable[Record | BadRow], folder: Path, val_fraction: float) -> None:
    """Writes the records, their split, and the bad rows apart; raises DataError if none is good."""
    scores = array("d")
    ends = array("q")
    n_bad = 0
    first_bad = ""
    with (folder / "records.jsonl").open("wb") as good, (folder / "bad.jsonl").open("wb") as bad:
        for row in rows:
            line = json.dumps(_said(row), default=vars, ensure_ascii=False).encode() + b"\n"
            if isinstance(row, BadRow):
                bad.write(line)
                n_bad += 1
                first_bad = first_bad or f"; the first bad row is {row.place}: {row.reason}"
            else:
                good.write(line)
                ends.append(good.tell())
                scores.append(_score(_asked(row) or line))
    if not scores:
        raise DataError(f"The data holds no usable record ({n_bad} bad rows{first_bad}).")
    np.save(folder / "ends.npy", np.array(ends, dtype=np.int64))
    np.save(folder / "held_out.npy", held_out(np.array(scores), val_fraction))


def read_bad_rows(folder: Path) -> list[BadRow]:
    """The rows that `write_records` set apart, in the order of the source."""
    with (folder / "bad.jsonl").open("rb") as opened:
        return [BadRow(**json.loads(line)) for line in opened]


def held_out(scores: np.ndarray, val_fraction: float) -> np.ndarray:
    """Which records are held out: those that score below the fraction.

    Where that leaves a side empty (few records), the lowest score alone is held out, or the
    highest alone is not. Raises DataError when all records are equal.
    """
    if scores.min() == scores.max():
        raise DataError(
            "The data holds only one distinct record, or prompt to prefer answers to, so none can "
            "be held out to validate on. Give more, or cut text into more documents "
            "(data.document=line)."
        )
    chosen = scores < val_fraction
    if not chosen.any():
        return scores == scores.min()
    return chosen if not chosen.all() else scores < scores.max()


def texts_of(record: Record) -> tuple[str, ...]:
    """The texts in a record that a network will see, in order."""
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


def _said(row: Record | BadRow) -> dict[str, Any]:
    """The fields of a row but for defaults: a kind that gains a field keeps its digests."""
    values = ((item, getattr(row, item.name)) for item in fields(row))
    return {item.name: value for item, value in values if value != item.default}


def _asked(record: Record) -> bytes:
    """What several records of preferences may be about."""
    return record.prompt.encode() if isinstance(record, Preference | Ranking | Feedback) else b""


def _score(content: bytes) -> float:
    """A number in [0, 1) that depends on nothing but the content."""
    return int.from_bytes(hashlib.sha256(content).digest()[:6], "big") / 2**48


def _decoded(line: bytes, kind: type[Record]) -> Record:
    values: dict[str, Any] = json.loads(line)
    if kind is Chat:
        return Chat(tuple(Message(**message) for message in values["messages"]))
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)  # pyright: ignore[reportUnknownArgumentType] -- from JSON
    return kind(**values)
