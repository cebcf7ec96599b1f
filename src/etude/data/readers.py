"""Reads text and JSON-lines files and reports every problem by file and line.

A bad row does not stop the reading: it becomes a BadRow, and the good rows are kept.
"""

import glob
import gzip
import hashlib
import json
import math
import zlib
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar, cast

from omegaconf import MISSING

from etude.config.schema.plugins import DataConfig, require
from etude.data.source import DataSource
from etude.errors import DataError
from etude.files.atomic import sha256
from etude.records import BadRow, Record

MAX_LINE_BYTES: Final = 16 * 2**20
JSONL: Final = (".jsonl", ".ndjson")
_PROBE_BYTES: Final = 8192
_TEXT_CONTROLS: Final = frozenset("\t\n\v\f\r\x1b")


@dataclass
class FileConfig(DataConfig):
    """Base config of the data plugins that read files."""

    path: str = MISSING
    """A file, a folder (all its files, sorted) or a pattern such as `texts/**/*.txt`; also .gz."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.path != "", "path names no file: it is empty")


FileC = TypeVar("FileC", bound=FileConfig)


class BadFieldError(ValueError):
    """A field of a row is missing or has the wrong type; the message names the problem."""


@dataclass(frozen=True)
class JsonRow:
    """A JSON object and its location (`file:line`)."""

    place: str
    fields: dict[str, Any]

    def value(self, column: str) -> Any:
        """The value of a column. Raises BadFieldError if it is missing or null."""
        if self.fields.get(column) is None:
            there = ", ".join(self.fields) or "none"
            raise BadFieldError(f"no field {column!r} (fields there: {there})")
        return self.fields[column]

    def text(self, column: str) -> str:
        """The text in a column."""
        return checked_text(self.value(column), f"field {column!r}")

    def texts(self, column: str) -> tuple[str, ...]:
        """The texts in a column that contains a non-empty list."""
        return tuple(
            checked_text(item, f"item {number} of field {column!r}")
            for number, item in enumerate(self.items(column), start=1)
        )

    def items(self, column: str) -> list[Any]:
        """The non-empty list in a column."""
        value = self.value(column)
        if not isinstance(value, list) or not value:
            raise BadFieldError(f"field {column!r} must be a list with items, not {_kind(value)}")
        return cast(list[Any], value)

    def number(self, column: str) -> float:
        """The finite number in a column; true is 1 and false is 0."""
        value = self.value(column)
        if not isinstance(value, bool | int | float) or not math.isfinite(value):
            raise BadFieldError(f"field {column!r} must be a number, not {_kind(value)}")
        return float(value)


class JsonlSource(DataSource[FileC]):
    """Base of the plugins that convert each line of a JSON-lines file to a record."""

    @abstractmethod
    def record(self, row: JsonRow) -> Record:
        """Returns the record of a row. Raises BadFieldError if the row is not a valid record."""

    def records(self) -> Iterator[Record | BadRow]:
        """Yields a record or a BadRow for each line that is not blank."""
        for file in files(self.config.path, JSONL):
            for line in lines(file):
                if isinstance(line, BadRow):
                    yield line
                elif line[1].strip():
                    yield self._parsed(line[0], line[1].rstrip())

    def fingerprint(self) -> str:
        """A digest of the names and contents of the files."""
        return fingerprint(files(self.config.path, JSONL))

    def _parsed(self, place: str, line: str) -> Record | BadRow:
        try:
            fields: Any = json.loads(line)
            if not isinstance(fields, dict):
                raise BadFieldError(f"must be a JSON object, not {_kind(fields)}")
            return self.record(JsonRow(place, cast(dict[str, Any], fields)))
        except BadFieldError as error:
            return BadRow(place, str(error))
        except json.JSONDecodeError as error:
            return BadRow(place, f"broken JSON: {error.msg} at character {error.pos + 1}")
        except (ValueError, RecursionError) as error:  # a number too long, nesting too deep
            return BadRow(place, f"JSON that cannot be read: {error}")


def checked_text(value: object, name: str) -> str:
    """Returns `value` if it is valid, non-empty text. Raises BadFieldError, with `name`, if not."""
    if not isinstance(value, str):
        raise BadFieldError(f"{name} must be text, not {_kind(value)}")
    if not value.strip():
        raise BadFieldError(f"{name} is empty")
    if "\0" in value:
        raise BadFieldError(f"{name} holds a NUL character")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise BadFieldError(f"{name} holds half of a surrogate pair")
    return value


def files(path: str, suffixes: tuple[str, ...]) -> list[Path]:
    """The files that match `path`, sorted; in a folder, those with a suffix, or a suffix and .gz.

    Raises DataError if no file matches.
    """
    place = Path(path).expanduser()
    if place.is_file():
        return [place]
    if place.is_dir():
        wanted = (*suffixes, *(f"{suffix}.gz" for suffix in suffixes))
        found = [file for file in place.rglob("*") if file.name.lower().endswith(wanted)]
        lacking = f"is a folder without any file {', '.join(suffixes)} (or .gz)"
    else:
        found = [Path(match) for match in glob.glob(str(place), recursive=True)]
        lacking = "names no file, folder or pattern that exists"
    if not (found := sorted(file for file in found if file.is_file())):
        raise DataError(f"data.path={path} {lacking} (looked from {Path.cwd()}).")
    return found


def lines(file: Path) -> Iterator[tuple[str, str] | BadRow]:
    """Yields the location (`file:line`) and text of each line; CRLF becomes a newline."""
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as opened:
            yield from _lines(opened, file)
    except (OSError, EOFError, zlib.error) as error:
        yield BadRow(str(file), f"cannot be read to its end: {error}")


def fingerprint(found: list[Path]) -> str:
    """A digest of the names and contents of files."""
    total = hashlib.sha256()
    for file in found:
        total.update(f"{file}\0{sha256(file)}\n".encode())
    return total.hexdigest()


def _lines(opened: BinaryIO | gzip.GzipFile, file: Path) -> Iterator[tuple[str, str] | BadRow]:
    probe = opened.read(_PROBE_BYTES)
    if fault := _not_text(probe):
        yield BadRow(str(file), fault)
        return
    opened.seek(3 if probe.startswith(b"\xef\xbb\xbf") else 0)  # skip the byte order mark
    number = 0
    while line := opened.readline(MAX_LINE_BYTES):
        number += 1
        place = f"{file}:{number}"
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := opened.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield BadRow(place, f"a line of more than {MAX_LINE_BYTES // 2**20} MiB")
        elif b"\0" in line:
            yield BadRow(place, "holds a NUL character")
        else:
            try:
                yield place, line.decode().replace("\r\n", "\n")
            except UnicodeDecodeError as error:
                yield BadRow(place, f"not UTF-8 at byte {error.start + 1}: {error.reason}")


def _not_text(probe: bytes) -> str:
    """The reason why the first bytes of a file are not text; empty if they may be."""
    if not probe:
        return "the file is empty"
    if probe.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "is UTF-16; convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)"
    text = probe.decode(errors="replace")
    strange = sum(
        character == "\ufffd" or (character < " " and character not in _TEXT_CONTROLS)
        for character in text
    )
    if probe.startswith(b"%PDF-") or strange > 0.1 * len(text) + 1:
        return "does not look like UTF-8 text (binary, or another encoding: convert it)"
    return ""


def _kind(value: Any) -> str:
    """The type of a JSON value, as named in error messages."""
    names = {str: "text", bool: "true or false", int: "a number", float: "a number"}
    names |= {list: "a list", dict: "an object", type(None): "null"}
    return "an empty list" if value == [] else names[type(value)]
