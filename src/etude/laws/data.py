"""Laws of data sets: the same records in the same order, of the declared kind."""

from collections import Counter
from itertools import islice

from etude.config.registry import build
from etude.data.corpus import read
from etude.data.source import DataSource
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, holds
from etude.records import BadRow, Record

N_READ = 2000
"""Number of records that are checked, from the first."""


def two_readings_agree(trial: Trial) -> Finding:
    """A second reading yields the same records in the same order."""
    first = _records(trial)
    second = _records(trial)
    for place, (one, two) in enumerate(zip(first, second, strict=False)):
        if one != two:
            return broken(f"record {place} is {_short(one)} and, read again, {_short(two)}")
    return holds(len(first) == len(second), f"{len(first)} and {len(second)} records")


def the_fingerprint_is_steady(trial: Trial) -> Finding:
    """The fingerprint of unchanged data does not change."""
    one, two = (_source(trial).fingerprint() for _ in range(2))
    return holds(one == two, f"{one[:16]!r}" if one == two else f"{one[:16]!r} and {two[:16]!r}")


def every_record_is_of_its_kind(trial: Trial) -> Finding:
    """Every record is of the declared kind, or a bad row with its reason."""
    kind = trial.plugin.declaration.yields
    if kind is None:
        return broken("it declares no kind: @plugin(Config, yields=Text) says it")
    counts = Counter(type(record) for record in _records(trial))
    others = [other.__name__ for other in counts if other not in (kind, BadRow)]
    if others:
        return broken(f"it declares {kind.__name__} and yields {', '.join(others)}")
    return holds(counts[kind] > 0, f"{counts[kind]} {kind.__name__}, {counts[BadRow]} bad rows")


def both_sides_of_the_split_hold_records(trial: Trial) -> Finding:
    """Both the training and the validation split contain records."""
    found = read(trial.config.data)
    return held(f"{len(found.train):,} to learn from, {len(found.val):,} held out")


def _source(trial: Trial) -> DataSource:
    return build(trial.tried)


def _records(trial: Trial) -> list[Record | BadRow]:
    return list(islice(_source(trial).records(), N_READ))


def _short(record: Record | BadRow) -> str:
    said = repr(record)
    return said if len(said) <= 60 else f"{said[:57]}..."
