"""A cache of sealed folders, named by a digest of their inputs and written atomically.

Every byte is verified at each use, 1 to 2 s per GB: less than reading it once to train, and no time
stamp or size tells of a flipped bit. A damaged folder is written again.

The location is `$ETUDE_CACHE`, else `$XDG_CACHE_HOME/etude`, else `~/.cache/etude`.
"""

import errno
import fcntl
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Final

from etude.errors import CheckpointError, DataError, DiskFullError
from etude.files.atomic import sha256, write_folder
from etude.files.disk import is_full
from etude.files.json_file import read_signed, write_signed
from etude.files.manifest import fault_of, write_manifest

LARGE_BYTES: Final = 2**24
SETTLED_S: Final = 60.0


def root() -> Path:
    """The root folder of the cache."""
    if folder := os.environ.get("ETUDE_CACHE"):
        return Path(folder).resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").resolve() / "etude"


def digest_of(*parts: object) -> str:
    """SHA-256 of values serialised as JSON; other types are converted with `str`."""
    content = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def code_digest(*code: ModuleType | Path) -> str:
    """SHA-256 of source files, so a code change never uses a stale cache entry."""
    files = [Path(str(item.__file__)) if isinstance(item, ModuleType) else item for item in code]
    return digest_of(*map(sha256, files))


def file_digest(file: Path) -> str:
    """SHA-256 of a file; a large one that is unchanged since its last use is not read again.

    It is unchanged if its size, inode, mtime and ctime are: no program can set a ctime. Writes
    through a memory map may be stamped late, so a file of the last SETTLED_S is always read.
    """
    stamp = _stamp(file)
    if stamp["size"] < LARGE_BYTES:
        return sha256(file)
    memo = root() / "digests" / f"{digest_of(file.resolve())}.json"
    with suppress(CheckpointError):
        if (known := read_signed(memo))["stamp"] == stamp:
            return known["digest"]
    digest = sha256(file)
    if _stamp(file) == stamp and time.time() - stamp["ctime_ns"] / 1e9 > SETTLED_S:
        with suppress(OSError):  # preparing reports a cache that cannot be written
            memo.parent.mkdir(parents=True, exist_ok=True)
            write_signed(memo, {"stamp": stamp, "digest": digest})
    return digest


def _stamp(file: Path) -> dict[str, int]:
    found = file.stat()
    stamp = {"size": found.st_size, "inode": found.st_ino, "device": found.st_dev}
    return {**stamp, "mtime_ns": found.st_mtime_ns, "ctime_ns": found.st_ctime_ns}


def is_cached(name: str) -> bool:
    """Whether the cached folder `name` exists and is intact."""
    return fault_of(root() / name) is None


def cached_folder(name: str, write: Callable[[Path], None]) -> Path:
    """Returns the cached folder `name` (`kind/digest`); `write` fills it if it is not intact.

    Concurrent processes wait for the one that creates it. A folder appears atomically: it is
    filled under a temporary name, flushed to disk and renamed.
    """
    folder = root() / name
    if is_cached(name):
        return folder

    def fill(inside: Path) -> None:
        write(inside)
        write_manifest(inside, {})

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with open(f"{folder}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (fault := fault_of(folder)) is not None:
                if folder.exists():
                    print(f"{folder} is damaged and is prepared again: {fault}", file=sys.stderr)
                write_folder(folder, fill)
    except OSError as error:
        if is_full(error):
            raise DiskFullError(
                f"No space left for prepared data in {root()}. Free some, or set ETUDE_CACHE "
                "to a folder on a larger disk."
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
            raise DataError(
                f"Cannot write prepared data to {root()}: {error.strerror}. Set ETUDE_CACHE "
                "to a writable folder."
            ) from error
        raise
    return folder
