"""CSV tables for spreadsheets and data frames: `metrics.csv` in the run folder, one row per step.

A column is added when its metric is first logged. Generated text goes to tables of its own, such as
`samples.csv`. A resumed run drops the rows of an interrupted attempt.
"""

import csv as table
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude import plugin
from etude.config import LoggerConfig
from etude.files import write_atomic
from etude.training import Tracker


@dataclass
class CsvConfig(LoggerConfig):
    file: str = "metrics.csv"
    """File name of the metrics table, in the run folder."""


@plugin(CsvConfig)
class Csv(Tracker):
    """Rewrites the table on resume or for a new column; appends otherwise."""

    def __init__(self, config: CsvConfig, folder: Path) -> None:
        super().__init__(folder)
        self.file = folder / config.file
        self.columns: list[str] = []
        self.last = -1
        """The step of the last row, or -1 before the first."""

    def log_metrics(self, metrics: Mapping[str, int | float], step: int | None = None) -> None:
        assert step is not None
        row = {"step": step, **metrics}
        if step > self.last >= 0 and row.keys() <= set(self.columns):
            with self.file.open("a", encoding="utf-8", newline="") as opened:
                opened.write(_text(self.columns, [row], header=False))
        else:
            rows = _rows(self.file)
            before = [kept for kept in rows if int(kept["step"]) < step]
            same = [kept for kept in rows if int(kept["step"]) == step == self.last]
            row = (same[0] if same else {}) | row
            self.columns = list(dict.fromkeys(key for kept in (*before, row) for key in kept))
            write_atomic(self.file, _text(self.columns, [*before, row], header=True))
        self.last = step

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]], step: int) -> None:
        file = self.folder / f"{name}.csv"
        before = [row for row in _rows(file) if int(row["step"]) < step]
        logged = [{"step": step, **row} for row in rows]
        write_atomic(file, _text([*logged[0]], [*before, *logged], header=True))

    def close(self, succeeded: bool) -> None:
        """Does nothing: every row is already on disk."""


def _rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a table, without empty cells; drops a line that a kill truncated."""
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as opened:
        text = opened.read()
    whole = io.StringIO(text[: text.rfind("\n") + 1], newline="")
    return [{key: cell for key, cell in row.items() if cell} for row in table.DictReader(whole)]


def _text(columns: list[str], rows: list[dict[str, Any]], *, header: bool) -> str:
    written = io.StringIO()
    writer = table.DictWriter(written, columns, restval="", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return written.getvalue()
