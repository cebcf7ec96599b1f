"""The config of a container of rows that are read as a certain record, and what it yields."""

from pathlib import Path
from typing import Any

from defaults import default

from etude.config.registry import build
from etude.records import Place


def reader(
    record: str, path: Path | str | None = None, container: str = "jsonl", **columns: Any
) -> Any:
    """The config of a container; `columns` is the column map."""
    slot = default(f"data/record/{record}")
    return default(f"data/{container}", path=str(path), record=slot, columns=columns)


def rows_of(config: Any) -> list[Any]:  # of SourceRow, of a kind that the test knows
    """Everything that the source of a config yields, without the places of records."""
    return [row for row in build(config).records() if not isinstance(row, Place)]
