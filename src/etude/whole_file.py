"""A file that is whole or absent, whenever the process is killed."""

import os
from pathlib import Path


def write_whole(file: Path, text: str) -> None:
    """Writes beside the file's place, syncs, and renames."""
    beside = file.with_name(f".{file.name}.tmp")
    with beside.open("w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    beside.replace(file)
