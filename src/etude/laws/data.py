"""Laws of data sets: the same records in the same order, of the declared kind."""

import shutil
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

from etude.config.record_kind import kind_of
from etude.config.registry import build
from etude.data.corpus import read
from etude.data.readers import FileSource
from etude.data.rows import Row, RowFileConfig, RowFileSource, records_of
from etude.data.source import DataSource
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, holds, not_applicable
from etude.records import BadRow, Noted, Place, Record, StartOfValidation, Unused

OTHER_NAME = "another_name"
N_READ = 2000
"""Number of records that are checked, from the first."""


def records_are_reproducible(trial: Trial) -> Finding:
    """A second reading yields the same records in the same order."""
    first = _records(trial)
    second = _records(trial)
    for index, (one, two) in enumerate(zip(first, second, strict=False)):
        if one != two:
            return broken(f"record {index} is {_short(one)} and, read again, {_short(two)}")
    return holds(len(first) == len(second), f"{len(first)} and {len(second)} records")


def the_fingerprint_is_stable(trial: Trial) -> Finding:
    """The fingerprint of unchanged data does not change."""
    one, two = (_source(trial).fingerprint() for _ in range(2))
    return holds(one == two, f"{one[:16]!r}" if one == two else f"{one[:16]!r} and {two[:16]!r}")


def a_changed_file_changes_the_fingerprint(trial: Trial) -> Finding:
    """In a copy of each file or folder that a knob names, other contents have another one."""
    values = {name: value for name, value in vars(trial.tested).items() if isinstance(value, str)}
    paths = {name: Path(value) for name, value in values.items() if value and Path(value).exists()}
    for name, path in paths.items():
        copy = trial.folder / "copy" / path.name
        copy.parent.mkdir(exist_ok=True)
        shutil.copytree(path, copy) if path.is_dir() else shutil.copy(path, copy)
        config = replace(trial.tested, **{name: str(copy)})
        before = build(config).fingerprint()
        for file in [f for f in (copy, *copy.rglob("*")) if f.is_file()]:
            file.write_bytes(file.read_bytes()[::-1])  # of the same size
        if build(config).fingerprint() == before:
            return broken(f"{name}: {before[:16]!r} before and after a change")
    return held(", ".join(paths)) if paths else not_applicable("no knob of it names a file")


def the_parts_of_a_file_have_its_rows(trial: Trial) -> Finding:
    """The rows of the parts of a file, in order, are those of the whole file."""
    source = _source(trial)
    if not isinstance(source, FileSource):
        return not_applicable("it reads no files")
    n_parts = 0
    for file in source.files().paths:
        parts = [*source.parts(file)]
        n_parts += len(parts)
        if [row for part in parts for row in source.part_rows(part)] != [*source.rows(file)]:
            return broken(f"{file.name}: its {len(parts)} parts have other rows")
    return held(f"{n_parts} parts of {len(source.files().paths)} files")


def records_are_of_the_declared_kind(trial: Trial) -> Finding:
    """Every record is of the declared kind, or a bad row with its reason."""
    kind = kind_of(trial.config.data)
    if kind is None:
        return broken("it declares no kind of record, as in @plugin(Config, yields=Text)")
    counts = Counter(type(record) for record in _records(trial))
    others = [other.__name__ for other in counts if other not in (kind, BadRow)]
    if others:
        return broken(f"it declares {kind.__name__} and yields {', '.join(others)}")
    return holds(counts[kind] > 0, f"{counts[kind]} {kind.__name__}, {counts[BadRow]} bad rows")


def another_name_of_a_field_changes_nothing(trial: Trial) -> Finding:
    """A field under another name, which `data.columns` gives, is read as before."""
    config = trial.config.data
    source = _source(trial)
    if not isinstance(config, RowFileConfig) or not isinstance(source, RowFileSource):
        return not_applicable("this data has no files of rows")
    rows = [row for file in source.files().paths for row in source.fields(file)]
    before = list(records_of(config, rows))
    standard = vars(trial.plugin.declaration.columns())
    names = {column: name or column for column, name in standard.items()}
    renamed: list[str] = []
    for column, name in (names | config.columns).items():
        others = [_renamed(row, name) for row in rows]
        if others != rows:
            columns = config.columns | {column: OTHER_NAME}
            renamed.append(column)
            if list(records_of(replace(config, columns=columns), others)) != before:
                return broken(f"data.columns.{column}={OTHER_NAME} gives other records")
    return holds(bool(renamed), f"renamed: {', '.join(renamed) or 'no field of the example'}")


def _renamed(row: Row | BadRow, name: str | None) -> Row | BadRow:
    """A row whose field of this name has another one."""
    if isinstance(row, BadRow) or name not in row.fields:
        return row
    found = {OTHER_NAME if key == name else key: value for key, value in row.fields.items()}
    return Row(row.place, found)


def both_splits_contain_records(trial: Trial) -> Finding:
    """Both the training and the validation split contain records."""
    corpus = read(trial.config.data)
    return held(f"{len(corpus.train):,} for training, {len(corpus.val):,} held out")


def _source(trial: Trial) -> DataSource:
    return build(trial.config.data)


def _records(trial: Trial) -> list[Record | BadRow]:
    rows = islice(_source(trial).records(), N_READ)
    return [row for row in rows if not isinstance(row, Unused | Noted | Place | StartOfValidation)]


def _short(record: Record | BadRow) -> str:
    text = repr(record)
    return text if len(text) <= 60 else f"{text[:57]}..."
