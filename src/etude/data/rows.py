"""Rows of named fields, of any container, and the contract of the readers that convert them.

A container (JSON Lines, CSV, Parquet) yields rows; the reader in its slot `data/record` makes a
record of each. A bad row does not stop the reading: it becomes a BadRow, and the good rows are
kept.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Generic, TypeVar, cast

from etude.config.record_kind import kind_of
from etude.config.registry import build, plugin_of
from etude.config.schema.plugins import RecordConfig, TextDataConfig, option, require
from etude.data.readers import FileConfig, FileSource
from etude.errors import did_you_mean
from etude.records import BadRow, Noted, Record, SourceRow, Text, Unused

MAX_DEPTH: Final = 100
"""The deepest nesting of a row, which much code follows by recursion."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class BadFieldError(ValueError):
    """A field of a row is missing or has the wrong type; the message names the problem."""


class MissingFieldError(BadFieldError):
    """A row lacks a field, perhaps because it is of another kind than the reader expects."""


@dataclass(frozen=True)
class Row:
    """The fields of a row, as JSON values, and its location (`file:line`).

    A column is the name of a field, or names joined by dots for a nested one: `meta.body`, or
    `answers.text.0` for the first item of a list.
    """

    place: str
    fields: dict[str, Any]
    read: set[str] = field(default_factory=set[str])
    """The columns that `record` has read so far."""
    unused_parts: list[str] = field(default_factory=list[str])
    """Nested parts of fields that the record does not contain; `record` appends to it."""
    notes: list[str] = field(default_factory=list[str])
    """Rules by which the row was read, where it has no obvious reading; `record` appends to it."""

    def optional(self, column: str) -> Any:
        """The value of a column; None if it is missing or null."""
        self.read.add(column)
        return _value_at(self.fields, column)

    def unused(self) -> Iterator[Unused]:
        """Yields what the record does not contain: fields that were not read, and nested parts."""
        for name in _unread(self.fields, "", self.read):
            yield Unused(f"field {name!r}")
        yield from map(Unused, self.unused_parts)

    def value(self, column: str) -> Any:
        """The value of a column. Raises MissingFieldError if it is missing or null."""
        if (value := self.optional(column)) is None:
            nested = {f"{key}." for key, inner in self.fields.items() if isinstance(inner, dict)}
            names = ", ".join(_unread(self.fields, "", nested)) or "none"
            raise MissingFieldError(f"no field {column!r} (fields: {names})")
        return value

    def text(self, column: str) -> str:
        """The text in a column."""
        return valid_text(self.value(column), f"field {column!r}")

    def texts(self, column: str, *, may_be_empty: bool = False) -> tuple[str, ...]:
        """The texts in a column that contains a list."""
        items = [] if may_be_empty and self.value(column) == [] else self.items(column)
        return tuple(
            valid_text(item, f"item {number} of field {column!r}")
            for number, item in enumerate(items, start=1)
        )

    def items(self, column: str) -> list[Any]:
        """The non-empty list in a column."""
        value = self.value(column)
        if not isinstance(value, list) or not value:
            raise BadFieldError(f"field {column!r} must be a non-empty list, not {type_of(value)}")
        return cast(list[Any], value)

    def number(self, column: str) -> float:
        """The finite number in a column; true is 1 and false is 0."""
        value = self.value(column)
        if not isinstance(value, bool | int | float) or not math.isfinite(value):
            given = value if isinstance(value, float) else type_of(value)
            raise BadFieldError(f"field {column!r} must be a finite number, not {given}")
        return float(value)


@dataclass
class RowsConfig(TextDataConfig):
    """Base config of the data plugins that yield rows of named fields."""

    record: RecordConfig = option("text")
    """What a row is read as."""
    columns: dict[str, str | None] = field(default_factory=dict[str, str | None])
    """Your names of the fields that the record reads: `data.columns.prompt=question`. Dots lead to
    nested fields: `meta.body`, `answers.text.0`; null = an optional field is not read."""

    @property
    def reader(self) -> RecordConfig:
        return self.record

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.record, RecordConfig):  # MISSING, as in a direct construction
            return
        plugin = plugin_of(self.record)
        name = "=".join(plugin.address.rsplit("/", 1))
        known = {item.name: item.type for item in fields(plugin.declaration.columns)}
        for key, value in self.columns.items():
            hint = did_you_mean(key, known, "data.columns.")
            text = f"columns has no {key!r}.{hint}\n  {name} reads: {', '.join(known)}"
            require(key in known, text)
            is_given = value != "" if known[key] is not str else bool(value)
            require(is_given, f"columns.{key} must name a field, which {name} needs")
        packs = self.pack and not self.intra_document
        why = f"pack and intra_document have no effect with {name}: only raw text is packed"
        require(packs or kind_of(self) is Text, why)


RowsC = TypeVar("RowsC", bound=RowsConfig)
RecordC = TypeVar("RecordC", bound=RecordConfig)
ColumnsT = TypeVar("ColumnsT")


class RecordReader(ABC, Generic[RecordC, ColumnsT]):
    """The group `data/record`: makes a record of each row; `columns` has the names of its fields.

    The names in `columns` are fields of the dataclass that the plugin declares: `columns=...`.
    """

    def __init__(self, config: RecordC, columns: ColumnsT) -> None:
        self.config = config
        self.columns = columns

    @abstractmethod
    def record(self, row: Row) -> Record:
        """Returns the record of a row. Raises BadFieldError if the row is not a valid record."""


def records_of(config: RowsConfig, rows: Iterable[Row | BadRow]) -> Iterator[SourceRow]:
    """Yields a record or a BadRow for each row, and the unused fields of the records."""
    columns = plugin_of(config.record).declaration.columns(**config.columns)
    reader: RecordReader[RecordConfig, object] = build(config.record, columns)
    for row in rows:
        if isinstance(row, BadRow):
            yield row
            continue
        try:
            if _is_deep(row.fields):
                raise BadFieldError(f"is nested more than {MAX_DEPTH} levels deep")
            yield reader.record(row)
            yield from row.unused()
            yield from map(Noted, row.notes)
        except BadFieldError as error:
            yield BadRow(row.place, str(error))


@dataclass
class RowFileConfig(FileConfig, RowsConfig):
    """Base config of the data plugins that read files of rows."""


RowFileC = TypeVar("RowFileC", bound=RowFileConfig)


class RowFileSource(FileSource[RowFileC]):
    """Base of the plugins that read files of rows."""

    @abstractmethod
    def fields(self, file: Path) -> Iterator[Row | BadRow]:
        """Every row of a file."""

    def rows(self, file: Path) -> Iterator[SourceRow]:
        """Yields what `records_of` makes of the rows of a file."""
        yield from records_of(self.config, self.fields(file))


def valid_text(value: object, name: str) -> str:
    """Returns `value` if it is valid, non-empty text. Raises BadFieldError, with `name`, if not."""
    if not isinstance(value, str):
        raise BadFieldError(f"{name} must be text, not {type_of(value)}")
    if not value.strip():
        raise BadFieldError(f"{name} is empty")
    if "\0" in value:
        raise BadFieldError(f"{name} contains a NUL character")
    if _SURROGATE.search(value):
        raise BadFieldError(f"{name} contains an unpaired surrogate, or bytes that are not UTF-8")
    return value


def _is_deep(value: Any) -> bool:
    """Whether JSON is nested more than MAX_DEPTH levels deep."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        items = (one.values() if isinstance(one, dict) else one for one in level)
        level = [one for part in items for one in part if isinstance(one, dict | list)]
        if not level:
            return False
    return True


def _value_at(value: Any, column: str) -> Any:  # Any: JSON
    """The value of a column; None if it is missing."""
    if isinstance(value, dict) and column in value:
        return value[column]
    head, _, rest = column.partition(".")
    if isinstance(value, list):
        inner = value[int(head)] if head.isdigit() and int(head) < len(value) else None
        return _value_at(inner, rest) if rest else inner
    return _value_at(value.get(head), rest) if rest and isinstance(value, dict) else None


def _unread(fields: dict[str, Any], prefix: str, read: Set[str]) -> Iterator[str]:
    """The names of fields that are not null and not in `read`; nested ones if some are read."""
    for key, value in fields.items():
        name = prefix + key
        if name in read or value is None:
            continue
        is_read_in_part = any(column.startswith(f"{name}.") for column in read)
        if is_read_in_part and isinstance(value, dict):
            yield from _unread(cast(dict[str, Any], value), f"{name}.", read)
        elif not (is_read_in_part and isinstance(value, list)):
            yield name


def type_of(value: Any) -> str:
    """The type of a JSON value, as named in error messages."""
    names = {str: "text", bool: "true or false", int: "a number", float: "a number"}
    names |= {list: "a list", dict: "an object", type(None): "null"}
    return "an empty list" if value == [] else names.get(type(value), type(value).__name__)
