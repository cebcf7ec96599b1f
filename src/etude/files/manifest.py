"""Sealed folders: `manifest.json` contains the size and SHA-256 of every file, and its own digest.

File formats alone would load a flipped bit silently.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from etude.errors import CheckpointError
from etude.files.atomic import sha256
from etude.files.json_file import read_signed, reading, write_signed

MANIFEST = "manifest.json"
Entry: TypeAlias = dict[str, Any]
"""The size of a file in bytes, and its sha256."""


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Writes the manifest of every file in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    entries = {str(path.relative_to(folder)): _entry(path) for path in files}
    write_signed(folder / MANIFEST, {"files": entries, "facts": dict(facts)})


def read_manifest(folder: Path) -> dict[str, Any]:
    """Returns `files` and `facts`. Raises CheckpointError if the manifest is damaged."""
    return read_signed(folder / MANIFEST)


def faults_of(folder: Path, *names: str) -> dict[str, str | None]:
    """Returns the damage of each file in a sealed folder; None for one that matches the manifest.

    With `names`, only of these files. Raises CheckpointError if the manifest is damaged.
    """
    manifest = read_manifest(folder)
    with reading(folder / MANIFEST):
        files: dict[str, Entry] = manifest["files"]
        return {name: _fault(folder / name, files[name]) for name in names or files}


def fault_of(folder: Path, *names: str) -> str | None:
    """Describes the damage of a sealed folder, or of some of its files; None if there is none."""
    try:
        faults = faults_of(folder, *names).items()
    except CheckpointError as error:
        return str(error)
    return next((f"{name} {fault}" for name, fault in faults if fault is not None), None)


def require_intact(folder: Path, *names: str) -> None:
    """Raises CheckpointError if a sealed folder, or one of some of its files, is damaged."""
    fault = fault_of(folder, *names)
    if fault is not None:
        raise CheckpointError(
            f"{folder} is damaged: {fault}.\n"
            f"  Restore it; or remove its {MANIFEST} if you changed the folder yourself."
        )


def require_intact_if_sealed(folder: Path) -> None:
    """Raises CheckpointError if a folder has a manifest, as étude writes them, and is damaged."""
    if (folder / MANIFEST).exists():
        require_intact(folder)


def _fault(file: Path, entry: Entry) -> str | None:
    """Describes how a file differs from its entry; None if it matches."""
    if not file.is_file():
        return "is missing"
    size = file.stat().st_size
    if size != entry["size"]:
        return f"has {size} bytes instead of {entry['size']}"
    return None if _entry(file) == entry else "has changed since it was written"


def entry_of(content: bytes) -> Entry:
    """Returns the entry of a file with this content."""
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _entry(file: Path) -> Entry:
    return {"size": file.stat().st_size, "sha256": sha256(file)}
