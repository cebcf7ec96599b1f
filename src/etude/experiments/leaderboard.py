"""Ranks the jobs of a sweep, best first: in the terminal, and as files in the sweep folder."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from etude.config import config_file
from etude.config.schema.trainer import Best
from etude.errors import CheckpointError
from etude.experiments.job import JobRecord, State, distinguishing_overrides, read_jobs
from etude.experiments.recipe import best_recipe
from etude.files.atomic import write_atomic
from etude.files.run_folder import CONFIG, read_summary

METRIC = "val/loss"
"""Metric that ranks the jobs if trainer.keep_best sets no other."""


@dataclass(frozen=True)
class Row:
    """A job and its results."""

    rank: int | None
    job: int
    state: str
    value: float | None
    step: int | None
    seconds: float | None
    overrides: dict[str, str]
    """The overrides that distinguish it from other jobs, by key."""
    error: str | None


@dataclass(frozen=True)
class Leaderboard:
    """The jobs of a sweep, ranked by a validation metric, best first."""

    metric: str
    best: Best
    rows: list[Row]


def publish(sweep: Path, verb: str) -> Leaderboard:
    """Writes `leaderboard.json`, `leaderboard.md` and `best.yaml`, and shows the table."""
    board = leaderboard(sweep)
    plain = {**asdict(board), "best": board.best.value}
    text = json.dumps(plain, indent=2, ensure_ascii=False)
    write_atomic(sweep / "leaderboard.json", text + "\n")
    write_atomic(sweep / "leaderboard.md", markdown(board))
    first = next(iter(board.rows), None)
    if first is not None and first.rank == 1:
        overrides = next(one.overrides for one in read_jobs(sweep) if one.job == first.job)
        result = f"{board.metric} {first.value:.4f}"
        write_atomic(sweep / "best.yaml", best_recipe(sweep, first.job, result, overrides, verb))
    show(board)
    return board


def leaderboard(sweep: Path) -> Leaderboard:
    """Reads the job folders of a sweep; ranks them by the metric of trainer.keep_best."""
    done = read_jobs(sweep)
    metric, best = ranked_by(sweep, done)
    distinct = distinguishing_overrides({one.job: one.overrides for one in done})
    rows = [_row(sweep, one, distinct[one.job], metric) for one in done]
    sign = 1 if best is Best.lowest else -1

    def order(row: Row) -> tuple[bool, bool, float]:
        known = row.value is not None and row.value == row.value
        return not known, row.state != State.finished.value, sign * (row.value or 0.0)

    ordered = sorted(rows, key=order)
    ranked = [replace(row, rank=k) for k, row in enumerate(ordered, start=1) if not order(row)[0]]
    return Leaderboard(metric, best, [*ranked, *ordered[len(ranked) :]])


def ranked_by(sweep: Path, done: list[JobRecord]) -> tuple[str, Best]:
    """Returns the validation metric that ranks the jobs, and whether lowest or highest is best."""
    for one in done:
        place = sweep / str(one.job)
        if (place / CONFIG).exists():
            with suppress(CheckpointError):  # that of another job says the same
                trainer = config_file.load_config(place).trainer
                return trainer.keep_best or METRIC, trainer.best
    return METRIC, Best.lowest


def value_of(summary: dict[str, Any] | None, metric: str) -> float | None:
    """Returns the best value of the metric if the run kept its best weights, else the last."""
    if summary is None:
        return None
    kept = summary.get("best")
    if kept is not None and kept["metric"] == metric and "value" in kept:
        return kept["value"]
    return summary["metrics"].get(metric)


def _row(sweep: Path, one: JobRecord, distinct: list[str], metric: str) -> Row:
    pairs = dict(item.lstrip("+").split("=", 1) for item in distinct if "=" in item)
    try:
        summary = read_summary(sweep / str(one.job))
    except CheckpointError as error:  # never hides the other jobs
        return Row(None, one.job, "damaged", None, None, None, pairs, str(error))
    step = None if summary is None else int(summary["metrics"]["step"])
    seconds = None if summary is None else summary["seconds"]
    value = value_of(summary, metric)
    return Row(None, one.job, one.state.value, value, step, seconds, pairs, one.error)


def columns(board: Leaderboard) -> list[str]:
    """Returns the column headings; the varied keys are between the value and the job's state."""
    keys = list(dict.fromkeys(key for row in board.rows for key in row.overrides))
    return ["#", "job", board.metric, *keys, "step", "seconds", "state"]


def cells(board: Leaderboard, row: Row) -> list[str]:
    """Returns the cells of a row, in the order of `columns`."""
    keys = columns(board)[3:-3]
    value = "" if row.value is None else f"{row.value:.4f}"
    leading = [_text(row.rank), str(row.job), value, *(row.overrides.get(key, "") for key in keys)]
    first = (row.error or "").partition("\n")[0]
    return [
        *leading,
        _text(row.step),
        _text(row.seconds),
        f"{row.state}: {first}" if first else row.state,
    ]


def _text(value: float | None) -> str:
    return "" if value is None else str(value)


def show(board: Leaderboard) -> None:
    """Prints the leaderboard in the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"by {board.metric}, {board.best.value} first", title_justify="left")
    for name in columns(board):
        table.add_column(name, overflow="fold")
    for row in board.rows:
        table.add_row(*cells(board, row))
    Console().print(table)


def table_line(items: list[str]) -> str:
    """Returns a row of a Markdown table."""
    return "| " + " | ".join(item.replace("|", "\\|") for item in items) + " |"


def markdown(board: Leaderboard) -> str:
    """Returns the leaderboard as a Markdown page."""
    head = columns(board)
    rows = [table_line(cells(board, row)) for row in board.rows]
    return "\n".join([table_line(head), table_line(["---"] * len(head)), *rows]) + "\n"
