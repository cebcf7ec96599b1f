"""Applies filters to the records of a source, and writes down and counts their decisions.

Filters are applied in the order of the config. Each receives what those before it kept, in the
order of the source, so the result is a pure function of the records and the configs.
"""

import json
import pickle
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

from etude.config.plugin_files import source_files
from etude.config.registry import build, plugin_of
from etude.config.schema.filter import FilterConfig
from etude.data import filter as filter_module
from etude.data import record_file, words
from etude.data.filter import Drop, Filter
from etude.errors import DataError
from etude.files.cache import cached_folder, code_digest, digest_of
from etude.files.json_file import read_json, reading
from etude.records import Record, StartOfValidation

AUDIT: Final = "audit.jsonl"
"""One line for each dropped record and for each edit of a changed one."""
COUNTS: Final = "filters.json"


@dataclass(frozen=True)
class FilterCounts:
    """The records that one filter dropped or changed, by rule."""

    dropped: dict[str, int] = field(default_factory=dict[str, int])
    changed: dict[str, int] = field(default_factory=dict[str, int])
    """Records with an edit of the rule; one with edits of two rules is counted in both."""
    n_changed: int = 0


@dataclass(frozen=True)
class FilterReport:
    """How many records the filters received and kept: n_in = n_kept + all dropped."""

    n_in: int
    n_kept: int
    filters: Mapping[str, FilterCounts]

    def lines(self) -> Iterator[str]:
        """Yields a line for the terminal on all filters, and one on each."""
        yield f"{self.n_in:,} records read, {self.n_kept:,} kept"
        for name, counts in self.filters.items():
            n_dropped = sum(counts.dropped.values())
            parts = [f"{n_dropped:,} dropped{_by_rule(counts.dropped)}"]
            if counts.n_changed:
                parts.append(f"{counts.n_changed:,} changed{_by_rule(counts.changed)}")
            yield f"  {name}: {', '.join(parts)}"


def apply_filters(
    source: Path,
    kind: type[Record],
    digest: str,
    configs: Mapping[str, FilterConfig],
    val_fraction: float,
) -> tuple[Path, str, FilterReport]:
    """Filters the records in the folder `source`, whose digest is given, in their order.

    Returns the folder of the result, its digest and its counts. The result is cached, and the
    source of the records is not read again. Raises DataError if nothing is kept.
    """
    result = filtered_digest(digest, configs)

    def write(folder: Path) -> None:
        filters = {name: build(config) for name, config in configs.items()}
        records = record_file.read_records(source, kind)
        n_train, place_of = record_file.read_n_train(source), record_file.place_of(source)
        kept = filtered(records, filters, folder, n_train, place_of)
        rows = chain(kept, record_file.read_other_rows(source))
        record_file.write_records(rows, folder, val_fraction)

    folder = cached_folder(f"filtered/{digest_of(source.name, result)}", write)
    return folder, result, read_report(folder)


def filtered_digest(records: str, configs: Mapping[str, FilterConfig]) -> str:
    """A digest of the records before the filters, and of all that decides about them."""
    plugins = {name: plugin_of(config) for name, config in configs.items()}
    code = [code_digest(*source_files(one.file)) for one in plugins.values()]
    files = [build(config).fingerprint() for config in configs.values()]
    knobs = [(plugins[name].address, asdict(config)) for name, config in configs.items()]
    own = code_digest(Path(__file__), filter_module, record_file, words)
    return digest_of(records, knobs, files, code, own)


def _no_place(number: int) -> str:
    return ""


def filtered(
    records: Iterable[Record],
    filters: Mapping[str, Filter[FilterConfig]],
    folder: Path,
    n_train: int | None = None,
    place_of: Callable[[int], str] = _no_place,
) -> Iterator[Record | StartOfValidation]:
    """Yields what the filters keep; writes AUDIT and, at the end, COUNTS to `folder`.

    If the first `n_train` records are those for training, their end is marked. `place_of` is the
    place of a record in the source, by number. Raises DataError if nothing is kept.
    """
    n_in = n_kept = 0

    def numbered() -> Iterator[tuple[int, Record]]:
        nonlocal n_in
        for record in records:
            yield n_in, record
            n_in += 1

    with (folder / AUDIT).open("w", encoding="utf-8") as file:
        audit = _Audit(file, place_of)
        stream = numbered()
        stages: dict[str, _Stage] = {}
        for name, one in filters.items():
            stages[name] = _Stage(name, one, folder, audit)
            stream = stages[name].apply(stream)
        for number, record in stream:
            if n_train is not None and number >= n_train:
                yield StartOfValidation()
                n_train = None
            n_kept += 1
            yield record
        if n_train is not None:  # every held-out record was dropped
            yield StartOfValidation()
    report = FilterReport(n_in, n_kept, {name: one.counts() for name, one in stages.items()})
    if not n_kept:
        raise DataError("\n  ".join(("The filters keep no record.", *report.lines())))
    (folder / COUNTS).write_text(json.dumps(asdict(report), ensure_ascii=False), encoding="utf-8")


def read_report(folder: Path) -> FilterReport:
    """The counts that `filtered` wrote."""
    file = folder / COUNTS
    stored = read_json(file)
    with reading(file):
        filters = {name: FilterCounts(**counts) for name, counts in stored["filters"].items()}
        return FilterReport(stored["n_in"], stored["n_kept"], filters)


class _Stage:
    """One filter in the sequence of all, and what it decided."""

    def __init__(self, name: str, one: Filter[FilterConfig], folder: Path, audit: "_Audit") -> None:
        self._name = name
        self._filter = one
        self._folder = folder
        self._audit = audit
        self._dropped: Counter[str] = Counter()
        self._changed: Counter[str] = Counter()
        self._n_changed = 0
        self._numbers = array("q")

    def apply(self, stream: Iterator[tuple[int, Record]]) -> Iterator[tuple[int, Record]]:
        """Yields what the filter keeps, with the number of each record in the source."""
        if not self._filter.observes:
            yield from self._decide(stream)
            return
        with TemporaryFile(dir=self._folder) as file:
            spool = _Spool(stream, file)
            self._filter.observe(record for _, record in spool)
            yield from self._decide(spool)

    def _decide(self, stream: Iterable[tuple[int, Record]]) -> Iterator[tuple[int, Record]]:
        for number, record in stream:
            self._numbers.append(number)
            decision = self._filter.decide(record)
            if isinstance(decision, Drop):
                self._dropped[decision.rule] += 1
                other = None if decision.other is None else self._numbers[decision.other]
                self._audit.note(number, self._name, asdict(decision), other)
                continue
            if decision is not None:
                self._n_changed += 1
                self._changed.update({edit.rule for edit in decision.edits})
                for edit in decision.edits:
                    self._audit.note(number, self._name, asdict(edit))
                record = decision.record
            yield number, record

    def counts(self) -> FilterCounts:
        return FilterCounts(
            dict(sorted(self._dropped.items())),
            dict(sorted(self._changed.items())),
            self._n_changed,
        )


class _Audit:
    """Writes the lines of AUDIT."""

    def __init__(self, file: IO[str], place_of: Callable[[int], str]) -> None:
        self._file = file
        self._place_of = place_of

    def note(
        self, number: int, name: str, values: Mapping[str, object], other: int | None = None
    ) -> None:
        """Writes what the filter `name` decided about a record, and the record it duplicates."""
        line = {"record": number, "place": self._place_of(number), "filter": name, **values}
        line |= {"other": other, "other_place": None if other is None else self._place_of(other)}
        shown = {key: value for key, value in line.items() if value not in (None, "")}
        self._file.write(json.dumps(shown, ensure_ascii=False) + "\n")


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


def _by_rule(counts: Mapping[str, int]) -> str:
    shown = ", ".join(f"{rule} {n:,}" for rule, n in counts.items())
    return f" ({shown})" if shown else ""
