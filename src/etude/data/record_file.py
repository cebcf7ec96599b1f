"""Stores the records of one kind in a compressed file with random access.

The folder includes the split: that of the source if it has one. Otherwise a record is held out by a
hash of its content, so equal records are on the same side and the order of the source does not
matter. Preference data is held out by a hash of the prompt, because other pairs of the same prompt
would leak into training; questions, for the same reason, by a hash of the text that answers them.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import repeat
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from etude.data.line_file import LineFile, LineWriter
from etude.data.record_json import decode, encode
from etude.data.row_batch import RowBatch, batches_of
from etude.errors import DataError
from etude.files.json_file import read_json
from etude.records import (
    BadRow,
    Chat,
    Choice,
    Feedback,
    Labelled,
    Noted,
    Pair,
    Preference,
    Prompt,
    Question,
    Ranking,
    Record,
    SourceRow,
    Text,
    Unused,
)

R = TypeVar("R", bound=Record)
RECORDS: Final = "records.jsonl.gz"
PLACES: Final = "places.jsonl.gz"
"""The place of each record in the source, such as `file:line`; empty if it is unknown."""
PART_BLOCKS: Final = 32
"""Blocks of a part of a RecordFile: about 2 MB of text."""
REPEATED: Final = "a record that is equal to an earlier one is kept"
LEAKED: Final = "a held-out record is equal to a training record: data that val measures is trained"


class RecordFile:
    """The records of one side of the split; an `etude.data.source.Samples`."""

    def __init__(self, folder: Path, kind: type[Record], held_out: bool) -> None:
        self._arguments = (folder, kind, held_out)
        self._kind = kind
        self._lines = LineFile(folder / RECORDS)
        self._is_on_side = np.load(folder / "held_out.npy") == held_out
        self._numbers = np.flatnonzero(self._is_on_side)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> Record:
        return decode(self._lines[int(self._numbers[index])], self._kind)

    def __iter__(self) -> Iterator[Record]:
        """Yields all records in order, in one pass over the file."""
        return self.records_in(range(self._lines.n_blocks))

    @property
    def n_bytes(self) -> int:
        """About the size of the records of both sides, in bytes."""
        return self._lines.n_bytes

    def parts(self) -> Iterator[range]:
        """Yields ranges of blocks that cover the file, for `records_in`."""
        n = self._lines.n_blocks
        return (range(n)[start : start + PART_BLOCKS] for start in range(0, n, PART_BLOCKS))

    def records_in(self, blocks: range) -> Iterator[Record]:
        """Yields the records in a range of blocks."""
        for number, line in self._lines.lines(blocks):
            if self._is_on_side[number]:
                yield decode(line, self._kind)

    def __reduce__(self) -> tuple[Callable[..., "RecordFile"], tuple[Any, ...]]:
        """Pickles the path of the file, not its content, for data loader workers."""
        return RecordFile, self._arguments


def write_records(rows: Iterable[SourceRow], folder: Path, val_fraction: float) -> None:
    """Writes rows, as `write_batches` does."""
    write_batches(batches_of(rows), folder, val_fraction)


def write_batches(batches: Iterable[RowBatch], folder: Path, val_fraction: float) -> None:
    """Writes records, split, bad rows and the counts of unused parts and notes to separate files.

    Raises DataError if no row is good.
    """
    every = RowBatch()
    n_bad = 0
    n_train = None
    first_bad = ""
    with (
        closing(LineWriter(folder / RECORDS)) as good,
        closing(LineWriter(folder / PLACES)) as places,
        (folder / "bad.jsonl").open("wb") as bad,
    ):
        for batch in batches:
            for line, place in zip(batch.lines, batch.places, strict=True):
                good.write(line)
                places.write(place)
            bad.writelines(encode(row) + b"\n" for row in batch.bad)
            for row in batch.bad[: not first_bad]:
                first_bad = f"; the first bad row is {row.place}: {row.reason}"
            n_bad += len(batch.bad)
            every.hashes += batch.hashes
            every.scores += batch.scores
            every.unused.update(batch.unused)
            every.noted.update(batch.noted)
            n_train = len(every.hashes) if batch.starts_validation else n_train
    scores = np.array(every.scores)
    if not len(scores):
        raise DataError(f"The data contains no usable record ({n_bad} bad rows{first_bad}).")
    every.noted.update(_repeated(np.array(every.hashes), n_train))
    stored = {"unused": every.unused, "noted": +every.noted, "n_train": n_train}
    (folder / "unused.json").write_text(json.dumps(stored), encoding="utf-8")
    if n_train is None:
        np.save(folder / "held_out.npy", held_out(scores, val_fraction))
        return
    if n_train in (0, len(scores)):
        empty = "validation" if n_train else "training"
        raise DataError(f"The {empty} split has no usable record ({n_bad} bad rows{first_bad}).")
    np.save(folder / "held_out.npy", np.arange(len(scores)) >= n_train)


def _repeated(hashes: np.ndarray, n_train: int | None) -> dict[str, int]:
    """How many records are equal to earlier ones, and how many to one on the other side."""
    leaked = 0 if n_train is None else np.isin(hashes[n_train:], hashes[:n_train]).sum()
    return {REPEATED: len(hashes) - len(np.unique(hashes)), LEAKED: int(leaked)}


def read_records(folder: Path, kind: type[Record]) -> Iterator[Record]:
    """Yields the records that `write_records` stored, of both sides, in the order of the source."""
    for line in LineFile(folder / RECORDS):
        yield decode(line, kind)


def place_of(folder: Path) -> Callable[[int], str]:
    """The place in the source, by the number of a record that `write_records` stored."""
    lines = LineFile(folder / PLACES)
    return lambda number: json.loads(lines[number])


def read_other_rows(folder: Path) -> Iterator[SourceRow]:
    """Yields the rows that `write_records` received besides records and stored."""
    yield from read_bad_rows(folder)
    unused, noted = read_unused(folder)
    for part, n in unused.items():
        yield from repeat(Unused(part), n)
    for rule, n in noted.items():
        if rule not in (REPEATED, LEAKED):
            yield from repeat(Noted(rule), n)


def read_bad_rows(folder: Path) -> Iterator[BadRow]:
    """Yields the bad rows that `write_records` stored, in the order of the source."""
    with (folder / "bad.jsonl").open("rb") as opened:
        for line in opened:
            yield BadRow(**json.loads(line))


def read_n_train(folder: Path) -> int | None:
    """The number of training records, which come first, if the source has a split of its own."""
    return read_json(folder / "unused.json")["n_train"]


def read_unused(folder: Path) -> tuple[dict[str, int], dict[str, int]]:
    """How often `write_records` met each unused part of a row, and each note on a row."""
    counts = read_json(folder / "unused.json")
    return counts["unused"], counts["noted"]


def held_out(scores: np.ndarray, val_fraction: float) -> np.ndarray:
    """A mask of the records that are held out: those with a score below the fraction.

    Records with one score stay together. If the share of held-out records is therefore not near
    the fraction (few records, or many equal ones), the scores are taken in ascending order, each if
    it brings the share nearer; one is held out at least, and one is not. Raises DataError if all
    records are equal.
    """
    groups, sizes = np.unique(scores, return_counts=True)
    if len(groups) == 1:
        raise DataError(
            "The data contains only one distinct record (of preference data: one distinct prompt; "
            "of questions: one distinct context), so none can be held out for validation. Add "
            "records or, of text, choose smaller documents: data.document=line, or blocks if the "
            "text has no line breaks."
        )
    mask = scores < val_fraction
    if is_near(float(mask.mean()), val_fraction):
        return mask
    target = val_fraction * len(scores)
    n_held_out = 0
    is_held_out = np.zeros(len(groups), dtype=bool)
    for i, size in enumerate(sizes):
        if abs(n_held_out + size - target) < abs(n_held_out - target):
            is_held_out[i] = True
            n_held_out += size
    if is_held_out.all() or not is_held_out.any():
        is_held_out[sizes.argmin()] ^= True
    return np.isin(scores, groups[is_held_out])


def is_near(share: float, val_fraction: float) -> bool:
    """Whether a share of held-out records is within a fifth of the requested one."""
    return abs(share - val_fraction) <= 0.2 * min(val_fraction, 1 - val_fraction)


def texts_of(record: Record) -> tuple[str, ...]:
    """The texts of a record that the network sees, in order."""
    match record:
        case Text(text):
            return (text,)
        case Pair(source, target):
            return (source, target)
        case Question(question, context):
            return (question, context)
        case Chat():
            return _chat_texts(record)
        case Preference(prompt, chosen, rejected):
            return (*_chat_texts(prompt), str(chosen), str(rejected))
        case Ranking(prompt, completions):
            return (*_chat_texts(prompt), *map(str, completions))
        case Feedback(prompt, completion, _):
            return (*_chat_texts(prompt), str(completion))
        case Prompt(prompt, answer):
            return _chat_texts(prompt) if answer is None else (*_chat_texts(prompt), answer)
        case Labelled(str() as text, _, second):
            return (text,) if second is None else (text, second)
        case Labelled(words):
            return tuple(words)
        case Choice(prompt, choices, _):
            return (*_chat_texts(prompt), *choices)


def _chat_texts(chat: Chat | str) -> tuple[str, ...]:
    if isinstance(chat, str):
        return (chat,)
    tools = (json.dumps(tool, ensure_ascii=False) for tool in chat.tools)
    return (*tools, *map(str, chat.messages))
