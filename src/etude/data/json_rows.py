"""Reads rows from JSON files: JSON Lines, or a JSON array, whatever its line breaks.

A bad row does not stop the reading: it becomes a BadRow, and the good rows are kept. In an array,
nothing can be read after a syntax error.
"""

import json
import math
import re
from abc import abstractmethod
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, cast

from etude.data.readers import (
    MAX_LINE_CHARS,
    PIECE_CHARS,
    FileC,
    FileSource,
    UnreadableError,
    lines,
    open_text,
)
from etude.records import BadRow, Noted, Record, SourceRow, Unused

MAX_DEPTH: Final = 100
"""The deepest nesting of a row, which much code follows by recursion."""
_OPENING: Final = re.compile(r"\s*\[?[\s\]]*")
_BETWEEN: Final = re.compile(r"[\s,\]]*")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class BadFieldError(ValueError):
    """A field of a row is missing or has the wrong type; the message names the problem."""


class MissingFieldError(BadFieldError):
    """A row lacks a field, perhaps because it is of another kind than the reader expects."""


@dataclass(frozen=True)
class JsonRow:
    """A JSON object and its location (`file:line`).

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

    def texts(self, column: str) -> tuple[str, ...]:
        """The texts in a column that contains a non-empty list."""
        return tuple(
            valid_text(item, f"item {number} of field {column!r}")
            for number, item in enumerate(self.items(column), start=1)
        )

    def items(self, column: str) -> list[Any]:
        """The non-empty list in a column."""
        value = self.value(column)
        if not isinstance(value, list) or not value:
            raise BadFieldError(f"field {column!r} must be a non-empty list, not {_type_of(value)}")
        return cast(list[Any], value)

    def number(self, column: str) -> float:
        """The finite number in a column; true is 1 and false is 0."""
        value = self.value(column)
        if not isinstance(value, bool | int | float) or not math.isfinite(value):
            given = value if isinstance(value, float) else _type_of(value)
            raise BadFieldError(f"field {column!r} must be a finite number, not {given}")
        return float(value)


class StrictDecoder(json.JSONDecoder):
    """Decodes JSON as RFC 8259 defines it, which excludes NaN and advises against repeated names.

    Python's decoder accepts both silently, and keeps only the last field of a name.
    """

    def __init__(self) -> None:
        super().__init__(object_pairs_hook=self._object, parse_constant=self._constant)
        self.fault: str | None = None
        """What is wrong with the value that was decoded last, other than its syntax."""

    def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
        self.fault = None
        return super().raw_decode(s, idx)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            repeated = next(name for name in found if names.count(name) > 1)
            self.fault = f"the field {repeated!r} appears more than once in an object"
        return found

    def _constant(self, name: str) -> float:
        self.fault = f"{name} is not valid JSON"
        return math.nan


class JsonlSource(FileSource[FileC]):
    """Base of the plugins that convert each row of a JSON file to a record."""

    suffixes = (".jsonl", ".ndjson")  # in a folder, .json is mostly something else

    @abstractmethod
    def record(self, row: JsonRow) -> Record:
        """Returns the record of a row. Raises BadFieldError if the row is not a valid record."""

    def rows(self, file: Path) -> Iterator[SourceRow]:
        """Yields a record or a BadRow for each JSON value, and the unused fields of the records."""
        for row in _spanning_values(file) if _spans_lines(file) else _line_values(file):
            if isinstance(row, BadRow):
                yield row
            else:
                yield from self._convert(*row)

    def _convert(self, place: str, value: object) -> Iterator[SourceRow]:
        try:
            if not isinstance(value, dict):
                raise BadFieldError(f"must be a JSON object, not {_type_of(value)}")
            if _is_deep(value):
                raise BadFieldError(f"is nested more than {MAX_DEPTH} levels deep")
            row = JsonRow(place, cast(dict[str, Any], value))
            yield self.record(row)
            yield from row.unused()
            yield from map(Noted, row.notes)
        except BadFieldError as error:
            yield BadRow(place, str(error))


def valid_text(value: object, name: str) -> str:
    """Returns `value` if it is valid, non-empty text. Raises BadFieldError, with `name`, if not."""
    if not isinstance(value, str):
        raise BadFieldError(f"{name} must be text, not {_type_of(value)}")
    if not value.strip():
        raise BadFieldError(f"{name} is empty")
    if "\0" in value:
        raise BadFieldError(f"{name} contains a NUL character")
    if _SURROGATE.search(value):
        raise BadFieldError(f"{name} contains an unpaired surrogate, or bytes that are not UTF-8")
    return value


def _line_values(file: Path) -> Iterator[tuple[str, object] | BadRow]:
    """Yields the location and value of each line that is not blank."""
    decoder = StrictDecoder()
    for line in lines(file):
        if isinstance(line, BadRow):
            yield line
        elif text := line[1].rstrip():
            try:
                value: object = decoder.decode(text)
            except (ValueError, RecursionError) as error:
                yield BadRow(line[0], _reason(error))
            else:
                fault = decoder.fault
                yield (line[0], value) if fault is None else BadRow(line[0], fault)


def _spans_lines(file: Path) -> bool:
    """Whether the rows of a file are items of an array, or values that span several lines."""
    try:
        with open_text(file) as opened:
            while line := opened.readline(PIECE_CHARS):
                if start := line.strip():
                    return start == "{" or start.startswith("[")
    except UnreadableError:  # `lines` reports it
        pass
    return False


def _spanning_values(file: Path) -> Iterator[tuple[str, object] | BadRow]:
    """Yields the location and value of each item of an array, or of consecutive values."""
    try:
        with open_text(file) as opened:
            for number, (line, value) in enumerate(_items(opened), start=1):
                place = f"{file}:{line}, item {number}"
                if isinstance(value, BadFieldError):
                    yield BadRow(place, str(value))
                elif isinstance(value, ValueError | RecursionError):
                    yield BadRow(place, f"{_reason(value)}; nothing after it is read")
                else:
                    yield place, value
    except UnreadableError as error:
        yield BadRow(str(file), str(error))


def _items(opened: TextIOWrapper) -> Iterator[tuple[int, object]]:
    """Yields the line and value of each item and, if one is invalid, the error that ends them.

    The value of an item with a fault is a BadFieldError, which does not end them.
    """
    decoder = StrictDecoder()
    text, end, line, between = "", 0, 1, _OPENING
    while True:
        start = cast(re.Match[str], between.match(text, end)).end()
        line += text.count("\n", end, start)
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:  # or the item goes on after `text`
            more = opened.read(max(PIECE_CHARS, len(text) - start))
            text, end = text[start:] + more, 0
            if not more or len(text) > MAX_LINE_CHARS:
                if text:
                    yield line, error
                return
        else:
            yield line, value if decoder.fault is None else BadFieldError(decoder.fault)
            line += text.count("\n", start, end)
            between = _BETWEEN


def _reason(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"invalid JSON: {error.msg} at character {error.pos + 1}"
    return f"unreadable JSON: {error}"  # a number too long, nesting too deep


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


def _type_of(value: Any) -> str:
    """The type of a JSON value, as named in error messages."""
    names = {str: "text", bool: "true or false", int: "a number", float: "a number"}
    names |= {list: "a list", dict: "an object", type(None): "null"}
    return "an empty list" if value == [] else names[type(value)]
