"""The config of a container of rows that are read as a certain record."""

from pathlib import Path
from typing import Any

from defaults import default


def reader(
    record: str, path: Path | str | None = None, container: str = "jsonl", **columns: Any
) -> Any:
    """The config of a container; `columns` is the column map."""
    slot = default(f"data/record/{record}")
    return default(f"data/{container}", path=str(path), record=slot, columns=columns)
