"""Opens files that may be compressed; their first bytes show the format, not their names.

Decompression is limited: a file of 10 MB may be made to expand to 10 GB or more.
"""

import io
import re
import sys
import zlib
from bz2 import BZ2File
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from gzip import GzipFile
from importlib import import_module
from lzma import LZMAError, LZMAFile
from pathlib import Path
from typing import Any, BinaryIO, Final

from etude.errors import DataError

MOST_TIMES: Final = 100
"""How many times its size a file may expand to. Text: 3 to 10; very repetitive text: 50."""
FREE_BYTES: Final = 2**28
"""The bytes that a file may expand to, whatever its size."""


class _Decompressed(io.RawIOBase):
    """The decompressed content of a file, up to a limit."""

    def __init__(self, file: Path, opened: Any) -> None:  # Any: one class per format
        self._file = file
        self._opened = opened
        self._limit = max(FREE_BYTES, MOST_TIMES * file.stat().st_size)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._opened.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:  # Any: a buffer
        n = self._opened.readinto(buffer)
        if self._opened.tell() > self._limit:
            raise DataError(
                f"{self._file} expands to more than {self._limit:,} bytes, at least {MOST_TIMES} "
                "times its size.\n  If you trust it, decompress it and read the result."
            )
        return n


def is_compressed(file: Path) -> bool:
    """Whether a file is in one of the compressed formats. Raises OSError if it cannot be read."""
    return _opener_of(file) is not None


def _opener_of(file: Path) -> Callable[[Path], AbstractContextManager[Any]] | None:
    with file.open("rb") as opened:
        start = opened.read(16)
    return next((opener for magic, opener in _OPENERS.items() if re.match(magic, start)), None)


@contextmanager
def open_bytes(file: Path) -> Generator[BinaryIO]:
    """Opens a file for reading, decompressed.

    Raises OSError if it is damaged, also while it is read, and DataError without a library for it
    or if it expands too much.
    """
    opener = _opener_of(file)
    try:
        with file.open("rb") if opener is None else opener(file) as opened:
            yield opened if opener is None else io.BufferedReader(_Decompressed(file, opened))
    except (EOFError, zlib.error, LZMAError) as error:
        raise OSError(error) from error


@contextmanager
def _open_zstd(file: Path) -> Generator[BinaryIO]:
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    try:
        zstd: Any = import_module(name)  # Any: the module depends on the version of Python
    except ImportError as error:
        raise DataError(
            f"{file} is compressed with Zstandard, and {name} is not installed.\n"
            "  Install it with pip install 'etude[zstd]', or decompress the file with zstd -d."
        ) from error
    try:
        with zstd.open(file) as opened:
            yield opened
    except zstd.ZstdError as error:
        raise OSError(error) from error


_OPENERS: Final[dict[bytes, Callable[[Path], AbstractContextManager[Any]]]] = {
    rb"\x1f\x8b": GzipFile,
    rb"BZh[1-9]1AY&SY": BZ2File,
    rb"\xfd7zXZ\x00": LZMAFile,
    rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18": _open_zstd,
}
"""How to open each format, by a pattern of its first bytes."""
