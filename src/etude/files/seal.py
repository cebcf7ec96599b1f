"""The seal of a run folder: `seal.json` has the size and SHA-256 of every file that is read back.

Its entry of a file is a list of contents, any of which is valid; None is no file. Before a file is
replaced, its new content is added; afterwards it alone remains. So a run that is killed at any time
can be read. Logs (`.jsonl`) grow after they are sealed: only their beginning has to match.
"""

import json
import math
import os
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any

from etude.errors import CheckpointError
from etude.files.atomic import write_atomic
from etude.files.json_file import read_json, read_signed, reading, write_signed
from etude.files.manifest import Entry, entry_of

SEAL = "seal.json"
LOG = ".jsonl"


def write_sealed(file: Path, text: str) -> None:
    """Writes a file of a run folder atomically, and its entry in the seal."""
    _replace(file, entry_of(text.encode()), lambda: write_atomic(file, text))


def remove_sealed(file: Path) -> None:
    """Removes a file of a run folder, and its entry in the seal."""
    _replace(file, None, lambda: file.unlink(missing_ok=True))


def seal_logs(folder: Path, checkpoint: int) -> None:
    """Seals the logs of a run as they are, and the step of its newest checkpoint."""
    seal = _seal_of(folder)
    for log in folder.glob(f"*{LOG}"):
        with log.open("rb") as lines:
            os.fsync(lines.fileno())
            seal["files"][log.name] = [entry_of(lines.read())]
    write_signed(folder / SEAL, {**seal, "checkpoint": checkpoint})


def truncate_after(log: Path, step: int) -> None:
    """Drops the lines that an interrupted run wrote to a log after `step`."""
    if not log.exists():
        remove_sealed(log)  # it is written anew
        return
    lines = log.read_bytes().splitlines(keepends=True)
    kept = takewhile(lambda line: _step_of(line) <= step, lines)
    write_sealed(log, b"".join(kept).decode())


def read_sealed(file: Path) -> str:
    """Returns the text of a file of a run. Raises CheckpointError if it is not what was written."""
    if fault := sealed_fault(file):
        raise CheckpointError(
            f"{file} {fault}.\n  Restore it, or start a new run in another folder."
        )
    with reading(file):
        return file.read_text(encoding="utf-8")


def read_sealed_json(file: Path) -> dict[str, Any]:
    """Returns the JSON object in a file of a run. Raises CheckpointError as `read_sealed` does."""
    read_sealed(file)
    return read_json(file)


def sealed_fault(file: Path) -> str | None:
    """Describes how a file of a run differs from what was written; None if it does not."""
    with reading(file.parent / SEAL):
        entries = _read(file.parent)["files"].get(file.name, [None])
        if any(_matches(file, entry) for entry in entries):
            return None
    return "has changed since it was written" if file.exists() else "is missing"


def sealed_files(folder: Path) -> list[Path]:
    """Returns the files that the seal of a run names, whether they exist or not."""
    with reading(folder / SEAL):
        return [folder / name for name in _read(folder)["files"]]


def newest_checkpoint(folder: Path) -> int | None:
    """Returns the step of the newest checkpoint that a run has written; None before the first."""
    with reading(folder / SEAL):
        return _read(folder)["checkpoint"]


def _matches(file: Path, entry: Entry | None) -> bool:
    if entry is None or not file.is_file():
        return entry is None and not file.exists()
    is_log = file.suffix == LOG
    with file.open("rb") as opened:
        start = opened.read(entry["size"] if is_log else -1)
    return entry_of(start) == entry


def _replace(file: Path, new: Entry | None, replace: Callable[[], object]) -> None:
    folder = file.parent
    seal = _seal_of(folder)
    files: dict[str, list[Entry | None]] = seal["files"]
    files[file.name] = [new, *files.get(file.name, [None])]
    write_signed(folder / SEAL, seal)
    replace()
    files[file.name] = [new]
    if new is None:
        del files[file.name]
    write_signed(folder / SEAL, seal)


def _read(folder: Path) -> dict[str, Any]:
    if not (folder / SEAL).exists():
        raise CheckpointError(
            f"{folder} has lost its {SEAL}, or was not written by this version of étude.\n"
            "  Restore it, or start a new run in another folder."
        )
    return read_signed(folder / SEAL)


def _seal_of(folder: Path) -> dict[str, Any]:
    """The seal of a folder to which a run writes: an empty one if it has written nothing yet."""
    return _read(folder) if (folder / SEAL).exists() else {"files": {}, "checkpoint": None}


def _step_of(line: bytes) -> float:
    """The step of a line; infinite for an incomplete line."""
    try:
        return float(json.loads(line.decode())["step"]) if line.endswith(b"\n") else math.inf
    except (ValueError, LookupError, TypeError, RecursionError):
        return math.inf
