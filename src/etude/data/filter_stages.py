"""Filters in sequence: each decides about what the one before it kept, and counts its decisions."""

import json
import pickle
from array import array
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

from etude.config.registry import build
from etude.config.schema.filter import FilterConfig
from etude.data.filter import Decision, Drop, Filter
from etude.data.record_file import texts_of
from etude.data.workers import Workers
from etude.records import Record

BATCH_CHARS: Final = 2**18
"""Characters of the records that a process decides about in turn."""


@dataclass(frozen=True)
class FilterCounts:
    """The records that one filter dropped or changed, by rule."""

    dropped: dict[str, int] = field(default_factory=dict[str, int])
    changed: dict[str, int] = field(default_factory=dict[str, int])
    """Records with an edit of the rule; one with edits of two rules is counted in both."""
    n_changed: int = 0


def no_place(number: int) -> str:
    """The place of a record of unknown place."""
    return ""


class Audit:
    """Writes a line for each decision, in the order of the records."""

    def __init__(self, file: IO[str], place_of: Callable[[int], str]) -> None:
        self._file = file
        self.place_of = place_of
        self._held: deque[tuple[int, str]] | None = None

    def write(self, number: int, line: str) -> None:
        """Writes a line about a record."""
        if self._held is None:
            self._file.write(line)
        else:
            self._held.append((number, line))

    @contextmanager
    def held(self) -> Generator[deque[tuple[int, str]]]:
        """Collects the lines instead of writing them."""
        before, self._held = self._held, deque()
        try:
            yield self._held
        finally:
            self._held = before


class Stage:
    """One filter in the sequence of all, and what it decided."""

    def __init__(self, name: str, one: Filter[FilterConfig], folder: Path, audit: Audit) -> None:
        self.name = name
        self.filter = one
        self._folder = folder
        self._audit = audit
        self._dropped: Counter[str] = Counter()
        self._changed: Counter[str] = Counter()
        self._n_changed = 0
        self._numbers = array("q")

    def apply(self, stream: Iterator[tuple[int, Record]]) -> Iterator[tuple[int, Record]]:
        """Yields what the filter keeps, with the number of each record in the source."""
        if not self.filter.observes:
            yield from self._decide(stream)
            return
        with TemporaryFile(dir=self._folder) as file:
            spool = _Spool(stream, file)
            self.filter.observe(record for _, record in spool)
            yield from self._decide(spool)

    def _decide(self, stream: Iterable[tuple[int, Record]]) -> Iterator[tuple[int, Record]]:
        for number, record in stream:
            kept = self.kept(number, record, self.filter.decide(record))
            if kept is not None:
                yield number, kept

    def kept(self, number: int, record: Record, decision: Decision) -> Record | None:
        """What a decision keeps of a record, after it is written down and counted."""
        self._numbers.append(number)
        if isinstance(decision, Drop):
            self._dropped[decision.rule] += 1
            other = None if decision.other is None else self._numbers[decision.other]
            place = None if other is None else self._audit.place_of(other)
            self._note(number, asdict(decision) | {"other": other, "other_place": place})
            return None
        if decision is None:
            return record
        self._n_changed += 1
        self._changed.update({edit.rule for edit in decision.edits})
        for edit in decision.edits:
            self._note(number, asdict(edit))
        return decision.record

    def counts(self) -> FilterCounts:
        return FilterCounts(
            dict(sorted(self._dropped.items())),
            dict(sorted(self._changed.items())),
            self._n_changed,
        )

    def _note(self, number: int, values: Mapping[str, object]) -> None:
        place = self._audit.place_of(number)
        line = {"record": number, "place": place, "filter": self.name, **values}
        line = {key: value for key, value in line.items() if value not in (None, "")}
        self._audit.write(number, json.dumps(line, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class _Decider:
    """Decides about records with filters whose decisions depend on one record alone."""

    configs: Mapping[str, FilterConfig]

    @cached_property
    def _filters(self) -> Sequence[Filter[FilterConfig]]:
        return [build(config) for config in self.configs.values()]

    def __call__(self, batch: Sequence[tuple[int, Record]]) -> list[list[Decision]]:
        return [[*self._decisions(record)] for _, record in batch]

    def _decisions(self, record: Record) -> Iterator[Decision]:
        """Yields the decision of each filter, up to one that drops the record."""
        for one in self._filters:
            decision = one.decide(record)
            yield decision
            if isinstance(decision, Drop):
                return
            record = decision.record if decision else record


def applied(
    stages: Sequence[Stage],
    stream: Iterator[tuple[int, Record]],
    audit: Audit,
    pool: Workers | None,
) -> Iterator[tuple[int, Record]]:
    """Yields what all filters keep; a pool decides where a decision is about one record."""
    for is_shared, some in groupby(stages, _needs_one_record):
        if is_shared and pool is not None:
            stream = _decided_by(pool, [*some], stream, audit)
            continue
        for stage in some:
            stream = stage.apply(stream)
    return stream


def _needs_one_record(stage: Stage) -> bool:
    return stage.filter.per_record and not stage.filter.observes


def _decided_by(
    pool: Workers, stages: Sequence[Stage], stream: Iterator[tuple[int, Record]], audit: Audit
) -> Iterator[tuple[int, Record]]:
    """Yields what consecutive filters keep, decided by several processes, as they would alone.

    Batches are read before earlier ones are decided, so the audit of what is before the filters
    waits for its place.
    """
    waiting: deque[tuple[list[tuple[int, Record]], deque[tuple[int, str]]]] = deque()

    def batches() -> Iterator[list[tuple[int, Record]]]:
        batch = None
        while batch is None or batch:
            with audit.held() as lines:
                batch = _next_batch(stream)
            waiting.append((batch, lines))
            yield batch

    decider = _Decider({stage.name: stage.filter.config for stage in stages})
    for decided in pool.map(decider, batches()):
        batch, lines = waiting.popleft()
        for (number, record), decisions in zip(batch, decided, strict=True):
            while lines and lines[0][0] <= number:
                audit.write(*lines.popleft())
            kept: Record | None = record
            for stage, decision in zip(stages, decisions, strict=False):
                assert kept is not None
                kept = stage.kept(number, kept, decision)
            if kept is not None:
                yield number, kept
        for line in lines:
            audit.write(*line)


def _next_batch(stream: Iterator[tuple[int, Record]]) -> list[tuple[int, Record]]:
    """The next records, of about BATCH_CHARS characters; empty at the end."""
    batch: list[tuple[int, Record]] = []
    n_chars = 0
    for number, record in stream:
        batch.append((number, record))
        n_chars += sum(map(len, texts_of(record)))
        if n_chars >= BATCH_CHARS:
            break
    return batch


class _Spool:
    """Numbered records in a file of its own, which can be read several times."""

    def __init__(self, records: Iterable[tuple[int, Record]], file: IO[bytes]) -> None:
        self._file = file
        self._n = 0
        for pair in records:
            pickle.dump(pair, self._file, pickle.HIGHEST_PROTOCOL)
            self._n += 1

    def __iter__(self) -> Iterator[tuple[int, Record]]:
        self._file.seek(0)
        for _ in range(self._n):
            yield pickle.load(self._file)
