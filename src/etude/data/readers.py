"""Reads text files line by line and reports every problem by file and line.

A bad line does not stop the reading: it becomes a BadRow, and the good lines are kept.
"""

import hashlib
import re
from abc import abstractmethod
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import ClassVar, Final, TypeVar

from omegaconf import MISSING

from etude.config.schema.plugins import DataConfig, require
from etude.data.compression import open_bytes
from etude.data.file_parts import FilePart, cut_lines, open_part, whole
from etude.data.file_search import FileList, find_files
from etude.data.source import DataSource
from etude.errors import DataError
from etude.files.cache import file_digest
from etude.records import BadRow, SourceRow, StartOfValidation

PIECE_CHARS: Final = 2**20
MAX_LINE_CHARS: Final = 2**25
"""Also the limit of a JSON row, which needs up to 30 times the memory of its text."""
_PROBE_BYTES: Final = 8192
_TEXT_CONTROLS: Final = frozenset("\t\n\v\f\r\x1b")
_UNREADABLE: Final = re.compile("[\0\udc80-\udcff]")  # NUL, or a byte that is not UTF-8
_FOREIGN: Final = {
    b"\xff\xfe": "is UTF-16; convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)",
    b"\xfe\xff": "is UTF-16; convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)",
    b"PK\3\4": "is a zip archive; extract its files (unzip)",
    b"%PDF-": "is a PDF and does not look like UTF-8 text; extract its text (pdftotext)",
    b"PAR1": "is a Parquet file; convert it: datasets.Dataset.from_parquet(...).to_json(...)",
}
"""Formats that are refused, by their first bytes, and what would work."""


@dataclass
class FileConfig(DataConfig):
    """Base config of the data plugins that read files."""

    path: str = MISSING
    """A file, a folder or a pattern such as `texts/**/*.txt`; also .gz, .bz2, .xz or .zst."""
    val_path: str | None = None
    """Files to hold out for validation, which `path` may contain; null = by data.val_fraction."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.path != "", "path is empty: give a file, a folder or a pattern")
        is_default = self.val_fraction == DataConfig.val_fraction
        why = f"val_fraction has no effect with data.val_path={self.val_path}"
        require(self.val_path is None or is_default, why)


FileC = TypeVar("FileC", bound=FileConfig)


class UnreadableError(ValueError):
    """A file is not text, or cannot be read to the end; the message says why."""


class FileSource(DataSource[FileC]):
    """Base of the plugins that read files, one after the other, sorted by name."""

    suffixes: ClassVar[tuple[str, ...]]
    """Suffixes of the files that are read in a folder, in lower case."""

    @abstractmethod
    def rows(self, file: Path) -> Iterator[SourceRow]:
        """Every record of a file, a BadRow for each row that is none, and the unused parts."""

    def parts(self, file: Path) -> Iterator[FilePart]:
        """Parts of a file that `part_rows` reads in any order; by default one, the whole file."""
        yield whole(file)

    def part_rows(self, part: FilePart) -> Iterator[SourceRow]:
        """The rows of one of the parts; those of all parts, in order, are the rows of the file."""
        yield from self.rows(part.file)

    def records(self) -> Iterator[SourceRow]:
        """Yields the rows of all files, the held-out files last."""
        for part in self.all_parts():
            if isinstance(part, StartOfValidation):
                yield part
            else:
                yield from self.part_rows(part)

    def all_parts(self) -> Iterator[FilePart | StartOfValidation]:
        """Yields the parts of all files, the held-out files last."""
        train, val = self._files()
        for file in train:
            yield from self.parts(file)
        if val.paths:
            yield StartOfValidation()
        for file in val.paths:
            yield from self.parts(file)

    def files(self) -> FileList:
        """The files that `path` and `val_path` name. Raises DataError if there are none."""
        train, val = self._files()
        skipped = find_files(self.config.path, self.suffixes).skipped
        return FileList((*train, *val.paths), skipped)

    def fingerprint(self) -> str:
        """A digest of the contents of the files, in order."""
        train, val = self._files()
        parts = [*map(file_digest, train), *(["val"] if val.paths else [])]
        contents = "".join((*parts, *map(file_digest, val.paths)))
        return hashlib.sha256(contents.encode()).hexdigest()

    def _files(self) -> tuple[Sequence[Path], FileList]:
        """The files for training, and those that are held out."""
        val = self.config.val_path
        held_out = FileList() if val is None else find_files(val, self.suffixes)
        taken = {file.resolve() for file in held_out.paths}
        found = find_files(self.config.path, self.suffixes).paths
        train = [file for file in found if file.resolve() not in taken]
        if not train:
            raise DataError(f"data.val_path={val} holds out every file of data.path.")
        return train, held_out


def lines(file: Path | FilePart) -> Iterator[tuple[str, str] | BadRow]:
    """Yields the location (`file:line`) and text of each line; CRLF and CR become newlines."""
    too_long = ""
    part = file if isinstance(file, FilePart) else FilePart(file)
    for line in _pieces(part, MAX_LINE_CHARS):
        if isinstance(line, BadRow):
            yield line
        elif line[0] == too_long:
            continue
        elif len(line[1]) == MAX_LINE_CHARS and not line[1].endswith("\n"):
            too_long = line[0]
            yield BadRow(too_long, f"longer than {MAX_LINE_CHARS:,} characters; split it")
        else:
            yield _check_line(*line)


def pieces(file: Path) -> Iterator[tuple[str, str] | BadRow]:
    """Like `lines`, but a line longer than PIECE_CHARS comes in several pieces of its text.

    A file of one line therefore needs little memory.
    """
    for piece in _pieces(FilePart(file), PIECE_CHARS):
        yield piece if isinstance(piece, BadRow) else _check_line(*piece)


@contextmanager
def open_text(file: Path | FilePart) -> Generator[TextIOWrapper]:
    """Opens a text file, or a part of one; bytes that are not UTF-8 become surrogates.

    Raises UnreadableError if it is not text, or damaged, also while it is read.
    """
    part = file if isinstance(file, FilePart) else FilePart(file)
    try:
        if not part.start:
            with open_bytes(part.file) as opened:
                if fault := _fault_of(opened.read(_PROBE_BYTES)):
                    raise UnreadableError(fault)
        with open_part(part) as opened:
            encoding = "utf-8" if part.start else "utf-8-sig"
            text = TextIOWrapper(opened, encoding, "surrogateescape")
            yield text
    except OSError as error:
        raise UnreadableError(f"cannot be read to the end: {error}") from error


def line_parts(file: Path) -> Iterator[FilePart]:
    """Yields parts of whole lines; a file that is compressed, or is no text, is one part."""
    try:
        with open_text(file):
            pass
    except UnreadableError:  # `lines` reports it
        return iter((whole(file),))
    return cut_lines(file)


def _pieces(part: FilePart, limit: int) -> Iterator[tuple[str, str] | BadRow]:
    """Yields each line in pieces of at most `limit` characters."""
    try:
        with open_text(part) as text:
            number = part.number
            while piece := text.readline(limit):
                yield f"{part.file}:{number}", piece
                number += piece.endswith("\n")
    except UnreadableError as error:
        yield BadRow(str(part.file), str(error))


def _check_line(place: str, text: str) -> tuple[str, str] | BadRow:
    """A line, or a BadRow if it contains what is not text."""
    if not (found := _UNREADABLE.search(text)):
        return place, text
    if found[0] == "\0":
        return BadRow(place, "contains a NUL character")
    try:
        text.encode(errors="surrogateescape").decode()
    except UnicodeDecodeError as error:
        return BadRow(place, f"not UTF-8 at byte {error.start + 1}: {error.reason}")
    raise AssertionError("an escaped byte was valid")


def _fault_of(probe: bytes) -> str:
    """The reason why the first bytes of a file are not text; empty if they may be."""
    if not probe:
        return "the file is empty"
    if foreign := next((_FOREIGN[magic] for magic in _FOREIGN if probe.startswith(magic)), ""):
        return foreign
    if probe[257:262] == b"ustar":
        return "is a tar archive; extract its files (tar -x)"
    text = probe.decode(errors="replace")
    n_unusual = sum(
        character == "\ufffd" or (character < " " and character not in _TEXT_CONTROLS)
        for character in text
    )
    if n_unusual > 0.1 * len(text) + 1:
        return "does not look like UTF-8 text (binary, or another encoding; convert it)"
    return ""
