"""Reads files that should be small, and that anybody may have written."""

from pathlib import Path

MAX_BYTES = 2**26


def read_bounded(file: Path, limit: int = MAX_BYTES) -> bytes:
    """The bytes of a file. Raises ValueError if there are more than `limit`, or OSError."""
    with file.open("rb") as opened:
        data = opened.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{file} has more than {limit:,} bytes")
    return data
