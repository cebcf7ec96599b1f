"""Parts of files that can be read on their own, such as the lines in a range of bytes."""

import io
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from etude.data.compression import is_compressed, open_bytes

PART_BYTES: Final = 2**22
"""Size of the parts into which a file is cut."""


@dataclass(frozen=True)
class FilePart:
    """A part of a file: a range of its bytes, or of other units, such as the row groups of a table.

    By default, the whole file.
    """

    file: Path
    start: int = 0
    end: int | None = None
    """Its end in the file; None = the end of the file."""
    number: int = 1
    """The number of its first line or row in the file."""
    n_bytes: int | None = None
    """Size of its content; None = unknown, as of a compressed file."""


def whole(file: Path) -> FilePart:
    """The only part of a file that is not cut."""
    with suppress(OSError):  # the reader of the file reports it
        if not is_compressed(file):
            return FilePart(file, n_bytes=file.stat().st_size)
    return FilePart(file)


def cut_lines(file: Path) -> Iterator[FilePart]:
    """Yields parts of about PART_BYTES, each of whole lines; a compressed file is one part.

    Files with CR as their only line break are not cut either.
    """
    start, number = 0, 1
    with suppress(OSError):  # the reader of the last part reports it
        for end, n_lines in _cuts(file):
            yield FilePart(file, start, end, number, end - start)
            start, number = end, number + n_lines
    last = whole(file)
    n_bytes = last.n_bytes and last.n_bytes - start
    if n_bytes != 0 or not start:
        yield FilePart(file, start, None, number, n_bytes)


def _cuts(file: Path) -> Iterator[tuple[int, int]]:
    """Yields the end of each part but the last, and its number of lines (after LF, CR or CRLF)."""
    if is_compressed(file):
        return
    with file.open("rb") as opened:
        n_lines, position, cr = 0, 0, b""
        while chunk := opened.read(PART_BYTES):
            cut = chunk.rfind(b"\n") + 1
            n_lines += _n_lines(cr + chunk[:cut]) - len(cr)  # CR and LF may be in two chunks
            if cut:
                yield position + cut, n_lines
                n_lines = 0
            cr = b"\r" if chunk.endswith(b"\r") else b""
            n_lines += _n_lines(chunk[cut:])
            position += len(chunk)


def _n_lines(content: bytes) -> int:
    return content.count(b"\n") + content.count(b"\r") - content.count(b"\r\n")


class _Range(io.RawIOBase):
    """The bytes of an open file from its position to an end."""

    def __init__(self, opened: BinaryIO, end: int) -> None:
        self._opened = opened
        self._end = end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # Any: a buffer
        content = self._opened.read(min(len(buffer), self._end - self._opened.tell()))
        buffer[: len(content)] = content
        return len(content)


@contextmanager
def open_part(part: FilePart) -> Generator[BinaryIO]:
    """Opens a range of bytes of a file; what is compressed has one part. Raises as `open_bytes`."""
    with open_bytes(part.file) as opened:
        if part.start:
            opened.seek(part.start)
        yield opened if part.end is None else io.BufferedReader(_Range(opened, part.end))
