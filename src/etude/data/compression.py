"""Opens files that may be compressed; their first bytes show the format, not their names."""

import re
import sys
import zlib
from bz2 import BZ2File
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from gzip import GzipFile
from importlib import import_module
from lzma import LZMAError, LZMAFile
from pathlib import Path
from typing import Any, BinaryIO, Final

from etude.errors import DataError


@contextmanager
def open_bytes(file: Path) -> Generator[BinaryIO]:
    """Opens a file for reading, decompressed.

    Raises OSError if it is damaged, also while it is read, and DataError without a library for it.
    """
    with file.open("rb") as opened:
        start = opened.read(16)
    formats = (opener for magic, opener in _OPENERS.items() if re.match(magic, start))
    opener = next(formats, partial(Path.open, mode="rb"))
    try:
        with opener(file) as opened:
            yield opened
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
