"""Atomic writes of files and folders, which stay valid if the process is killed at any time."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from threading import get_native_id


def write_atomic(file: Path, text: str) -> None:
    """Writes a temporary file in the same folder, syncs and renames it, so no partial file appears.

    Several threads and processes may write the same file, as jobs do in the cache: the last wins.
    """
    temporary = file.with_name(f".{file.name}.{get_native_id()}.tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)


def sha256(file: Path) -> str:
    """SHA-256 of a file, computed in constant memory."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Creates a folder atomically: `fill` writes to a temporary folder, which is then renamed.

    Every file is flushed to disk first. A previous folder is removed after the rename.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a process that was killed
    temporary.mkdir(parents=True)
    try:
        fill(temporary)
        for path in (*sorted(temporary.rglob("*")), temporary):
            _sync(path)
        replace_folder(temporary, folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_folder(new: Path, folder: Path) -> None:
    """Renames `new` to `folder`; a previous `folder` is removed only after that."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
