"""Files and folders that are right whenever the process is killed."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from threading import get_native_id


def write_whole(file: Path, text: str) -> None:
    """Writes beside the file's place, syncs, and renames: it is whole or absent.

    Several threads and processes may write the same file, as jobs do in the cache: the last holds.
    """
    beside = file.with_name(f".{file.name}.{get_native_id()}.tmp")
    with beside.open("w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    beside.replace(file)


def sha256(file: Path) -> str:
    """The digest of a file's bytes, however large it is."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Makes a folder whole or not at all: `fill` writes beside its place, and a rename ends it.

    Every file is flushed to disk first. What was there goes only once the new one is in place.
    """
    beside = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(beside, ignore_errors=True)  # of a process that was killed
    beside.mkdir(parents=True)
    try:
        fill(beside)
        for path in (*sorted(beside.rglob("*")), beside):
            _sync(path)
        replace_folder(beside, folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_folder(beside: Path, folder: Path) -> None:
    """Renames `beside` to `folder`; what was there goes only once the new one stands."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    try:
        beside.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def forget_after(file: Path, step: int) -> None:
    """Drops the lines of a JSON Lines file that a lost attempt wrote after `step`."""
    if file.exists():
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = takewhile(lambda line: _step_of(line) <= step, lines)
        write_whole(file, "".join(kept))


def _step_of(line: str) -> float:
    """The step of a line; that of half a line is after all others."""
    try:
        return json.loads(line)["step"] if line.endswith("\n") else float("inf")
    except ValueError:
        return float("inf")
