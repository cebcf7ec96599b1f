"""Atomic, verified checkpoints: written under a temporary name, synced, renamed and read back.

A checkpoint is a sealed folder with a state tree (see `state_tree.py`). An older checkpoint is
deleted only after a newer one was verified.
"""

import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from etude.errors import CheckpointError
from etude.files.atomic import write_folder
from etude.files.disk import disk_full_error
from etude.files.manifest import fault_of, write_manifest

PREFIX = "step-"


def write_sealed_folder(
    folder: Path, fill: Callable[[Path], None], facts: Mapping[str, Any] | None = None
) -> None:
    """Creates `folder` atomically, with a manifest of every file that `fill` writes."""

    def fill_and_seal(inside: Path) -> None:
        fill(inside)
        write_manifest(inside, facts or {})

    with disk_full_error(folder):
        write_folder(folder, fill_and_seal)
    fault = fault_of(folder)
    if fault is not None:
        raise CheckpointError(f"{folder} was damaged while it was written: {fault}.")


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a run's folder `checkpoints`, newest first, damaged ones included."""
    found = [
        path
        for path in folder.glob(f"{PREFIX}*")
        if path.is_dir() and path.name.removeprefix(PREFIX).isdecimal()
    ]
    return sorted(found, key=lambda path: path.name, reverse=True)


def path_of(folder: Path, step: int) -> Path:
    """The folder of the checkpoint of a step."""
    return folder / f"{PREFIX}{step:09d}"


def step_of(path: Path) -> int:
    """The step of a checkpoint."""
    return int(path.name.removeprefix(PREFIX))


def newest_intact(folder: Path) -> Path | None:
    """Returns the newest intact checkpoint and warns about damaged ones; None if none exist.

    Raises CheckpointError if checkpoints exist and all are damaged.
    """
    faults: list[str] = []
    for path in checkpoints(folder):
        fault = fault_of(path)
        if fault is None:
            if faults:
                warnings.warn(f"Damaged checkpoints are skipped: {'; '.join(faults)}", stacklevel=2)
            return path
        faults.append(f"{path}: {fault}")
    if faults:
        raise CheckpointError("All checkpoints are damaged:\n  " + "\n  ".join(faults))
    return None


def delete_old(newest: Path, keep: int) -> None:
    """Deletes all checkpoints except the last `keep`, counted back from the one just written.

    Checkpoints of later steps are deleted too: they are damaged, and the run resumed before them.
    """
    found = checkpoints(newest.parent)
    for path in {*found} - {*[path for path in found if path.name <= newest.name][:keep]}:
        shutil.rmtree(path)
