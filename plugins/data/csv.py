"""CSV and TSV files: the cells of a line, named by the first line.

RFC 4180, https://www.rfc-editor.org/rfc/rfc4180, through the standard library's csv in its strict
mode. Cells may contain quoted line breaks; an empty cell is null. Cells have no types, so a number
or true and false are read from their text where a record needs a number.
"""

import _csv
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from etude import BadRow, plugin, require
from etude.data import (
    MAX_LINE_CHARS,
    BadFieldError,
    Row,
    RowFileConfig,
    RowFileSource,
    UnreadableError,
    open_text,
)

WORDS = {"true": 1.0, "false": 0.0}


@dataclass
class CsvConfig(RowFileConfig):
    delimiter: str | None = None
    """Character between cells, such as `;`; null = a tab in .tsv files, a comma in others."""
    names: list[str] = field(default_factory=list[str])
    """Names of the cells in files without a first line of names; [] = the first line has them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        is_one = self.delimiter is None or len(self.delimiter) == 1
        require(is_one, f"delimiter must be one character, got {self.delimiter!r}")
        repeated = [name for name in self.names if self.names.count(name) > 1]
        require(not repeated, f"names has {repeated[:1]} twice")


class TextRow(Row):
    """A row whose cells are text."""

    def number(self, column: str) -> float:
        """The number that a cell writes; true is 1 and false is 0."""
        text = self.text(column).strip().lower()
        try:
            value = WORDS[text] if text in WORDS else float(text)
        except ValueError as error:
            raise BadFieldError(f"field {column!r} must be a number, not {text!r}") from error
        return Row(self.place, {column: value}).number(column)


@plugin(
    CsvConfig,
    example={"path": "{file}This is text #.", "data.columns.text": "This is text 0."},
)
class Csv(RowFileSource[CsvConfig]):
    """A line with more or fewer cells than names is a bad row."""

    suffixes = (".csv", ".tsv")

    def fields(self, file: Path) -> Iterator[Row | BadRow]:
        csv.field_size_limit(MAX_LINE_CHARS)
        is_tsv = ".tsv" in file.suffixes[-2:]  # also of words.tsv.gz
        delimiter = self.config.delimiter or ("\t" if is_tsv else ",")
        try:
            with open_text(file) as opened:
                lines = csv.reader(opened, delimiter=delimiter, strict=True)
                names = self.config.names or next(lines, [])
                if repeated := [name for name in names if names.count(name) > 1]:
                    yield BadRow(f"{file}:1", f"the name {repeated[0]!r} appears more than once")
                else:
                    yield from _rows(file, names, lines)
        except csv.Error as error:
            yield BadRow(f"{file}:1", f"invalid CSV: {error}")
        except UnreadableError as error:
            yield BadRow(str(file), str(error))


def _rows(file: Path, names: Sequence[str], lines: _csv.Reader) -> Iterator[Row | BadRow]:
    """A row for each line that is not blank; a syntax error ends its line only."""
    while True:
        place = f"{file}:{lines.line_num + 1}"
        try:
            cells = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(place, f"invalid CSV: {error}")
            continue
        if len(cells) not in (0, len(names)):
            yield BadRow(place, f"{len(cells)} cells, but {len(names)} names")
        elif cells:
            yield TextRow(place, {k: v or None for k, v in zip(names, cells, strict=True)})
