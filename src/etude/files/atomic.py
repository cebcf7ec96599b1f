"""Atomic writes of files and folders, which stay valid if the process is killed at any time."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from threading import get_native_id


def write_whole(file: Path, text: str) -> None:
    """Writes a temporary file in the same folder, syncs and renames it, so no partial file appears.

    Several threads and processes may write the same file, as jobs do in the cache: the last wins.
    """
    beside = file.with_name(f".{file.name}.{get_native_id()}.tmp")
    with beside.open("w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    beside.replace(file)


def sha256(file: Path) -> str:
    """SHA-256 of a file, computed in constant memory."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Creates a folder atomically: `fill` writes to a temporary folder, which is then renamed.

    Every file is flushed to disk first. A previous folder is removed after the rename.
    """
    beside = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(beside, ignore_errors=True)  # left by a process that was killed
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
    """Renames `beside` to `folder`; a previous `folder` is removed only after that."""
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
    """Drops the lines of a JSON Lines file that an interrupted attempt wrote after `step`."""
    if file.exists():
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = takewhile(lambda line: _step_of(line) <= step, lines)
        write_whole(file, "".join(kept))


def _step_of(line: str) -> float:
    """The step of a line; infinite for an incomplete line."""
    try:
        return json.loads(line)["step"] if line.endswith("\n") else float("inf")
    except ValueError:
        return float("inf")
