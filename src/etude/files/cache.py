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
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from etude.errors import DataError, DiskFullError
from etude.files.atomic import sha256, write_folder
from etude.files.disk import is_full
from etude.files.manifest import fault_of, write_manifest


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
