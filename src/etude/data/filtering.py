"""Applies filters to the records of a source, and writes down and counts their decisions.

Filters are applied in the order of the config. Each receives what those before it kept, in the
order of the source, so the result is a pure function of the records and the configs.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from etude.config.plugin_files import source_files
from etude.config.registry import build, plugin_of
from etude.config.schema.filter import FilterConfig
from etude.data import filter as filter_module
from etude.data import filter_stages, record_file, record_json, row_batch, words
from etude.data.filter import Filter
from etude.data.filter_stages import Audit, FilterCounts, Stage, applied, no_place
from etude.data.line_file import LineFile
from etude.data.workers import Workers
from etude.errors import DataError
from etude.files.cache import cached_folder, code_digest, digest_of
from etude.files.json_file import read_json, reading
from etude.records import Record, StartOfValidation

AUDIT: Final = "audit.jsonl"
"""One line for each dropped record and for each edit of a changed one."""
COUNTS: Final = "filters.json"
COST: Final = 8
"""How many times as long as reading a text a filter takes: 0.2 s per MB, and reading 0.025 s."""


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
    pool: Workers | None = None,
) -> tuple[Path, str, FilterReport]:
    """Filters the records in the folder `source`, whose digest is given, in their order.

    Returns the folder of the result, its digest and its counts. The result is cached, and the
    source of the records is not read again. Raises DataError if nothing is kept.
    """
    result = filtered_digest(digest, configs)

    def write(folder: Path) -> None:
        filters = {name: build(config) for name, config in configs.items()}
        records = record_file.read_records(source, kind)
        n_bytes = LineFile(source / record_file.RECORDS).n_bytes
        sharing = pool if pool and pool.pay(COST * n_bytes) else None
        n_train, place_of = record_file.read_n_train(source), record_file.place_of(source)
        kept = filtered(records, filters, folder, n_train, sharing, place_of)
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
    own = filter_module, filter_stages, record_file, record_json, row_batch, words
    return digest_of(records, knobs, files, code, code_digest(Path(__file__), *own))


def filtered(
    records: Iterable[Record],
    filters: Mapping[str, Filter[FilterConfig]],
    folder: Path,
    n_train: int | None = None,
    pool: Workers | None = None,
    place_of: Callable[[int], str] = no_place,
) -> Iterator[Record | StartOfValidation]:
    """Yields what the filters keep; writes AUDIT and, at the end, COUNTS to `folder`.

    If the first `n_train` records are those for training, their end is marked. A pool decides where
    the filters allow it. `place_of` is the place of a record in the source, by number. Raises
    DataError if nothing is kept.
    """
    n_in = n_kept = 0

    def numbered() -> Iterator[tuple[int, Record]]:
        nonlocal n_in
        for record in records:
            yield n_in, record
            n_in += 1

    with (folder / AUDIT).open("w", encoding="utf-8") as file:
        audit = Audit(file, place_of)
        stages = {name: Stage(name, one, folder, audit) for name, one in filters.items()}
        for number, record in applied([*stages.values()], numbered(), audit, pool):
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


def _by_rule(counts: Mapping[str, int]) -> str:
    shown = ", ".join(f"{rule} {n:,}" for rule, n in counts.items())
    return f" ({shown})" if shown else ""
