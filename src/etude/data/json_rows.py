"""Reads rows from JSON files: JSON Lines, or a JSON array, whatever its line breaks.

In an array, nothing can be read after a syntax error.
"""

import json
import math
import re
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, cast

from etude.data.file_parts import FilePart, whole
from etude.data.readers import (
    MAX_LINE_CHARS,
    PIECE_CHARS,
    UnreadableError,
    line_parts,
    lines,
    open_text,
)
from etude.data.rows import BadFieldError, Row, type_of
from etude.records import BadRow

_OPENING: Final = re.compile(r"\s*\[?[\s\]]*")
_BETWEEN: Final = re.compile(r"[\s,\]]*")


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


def json_parts(file: Path) -> Iterator[FilePart]:
    """Yields the parts of a file in which each row is a line; of others, the whole file."""
    return iter((whole(file),)) if _spans_lines(file) else line_parts(file)


def read_json_rows(part: FilePart) -> Iterator[Row | BadRow]:
    """Yields a row or a BadRow for each JSON value of a file, or of one of its `json_parts`."""
    is_line = part.start or not _spans_lines(part.file)
    for row in _line_values(part) if is_line else _spanning_values(part.file):
        if isinstance(row, BadRow):
            yield row
        elif isinstance(row[1], dict):
            yield Row(row[0], cast(dict[str, Any], row[1]))
        else:
            yield BadRow(row[0], f"must be a JSON object, not {type_of(row[1])}")


def _line_values(part: FilePart) -> Iterator[tuple[str, object] | BadRow]:
    """Yields the location and value of each line that is not blank."""
    decoder = StrictDecoder()
    for line in lines(part):
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
