"""What the jobs of a sweep gave, best first: in the terminal, and as files in the sweep folder."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from etude.config import config_file
from etude.config.schema.trainer import Best
from etude.experiments.job import Outcome, State, outcomes, telling
from etude.experiments.recipe import best_recipe
from etude.files.atomic import write_whole
from etude.files.run_folder import CONFIG, summary_of

METRIC = "val/loss"
"""What ranks the jobs where trainer.keep_best names nothing else."""


@dataclass(frozen=True)
class Row:
    """A job, and what it gave."""

    rank: int | None
    job: int
    state: str
    value: float | None
    step: int | None
    seconds: float | None
    overrides: dict[str, str]
    """Those that tell it from other jobs, by key."""
    error: str | None


@dataclass(frozen=True)
class Leaderboard:
    """The jobs of a sweep by a held-out number, the best first."""

    metric: str
    best: Best
    rows: list[Row]


def publish(sweep: Path, verb: str) -> Leaderboard:
    """Writes `leaderboard.json`, `leaderboard.md` and `best.yaml`, and shows the table."""
    board = leaderboard(sweep)
    plain = {**asdict(board), "best": board.best.value}
    text = json.dumps(plain, indent=2, ensure_ascii=False)
    write_whole(sweep / "leaderboard.json", text + "\n")
    write_whole(sweep / "leaderboard.md", markdown(board))
    first = next(iter(board.rows), None)
    if first is not None and first.rank == 1:
        given = next(one.overrides for one in outcomes(sweep) if one.job == first.job)
        result = f"{board.metric} {first.value:.4f}"
        write_whole(sweep / "best.yaml", best_recipe(sweep, first.job, result, given, verb))
    show(board)
    return board


def leaderboard(sweep: Path) -> Leaderboard:
    """Reads the folders of a sweep's jobs; what ranks them is what they were asked to keep."""
    done = outcomes(sweep)
    metric, best = ranked_by(sweep, done)
    own = telling({one.job: one.overrides for one in done})
    rows = [_row(sweep, one, own[one.job], metric) for one in done]
    sign = 1 if best is Best.lowest else -1

    def order(row: Row) -> tuple[bool, bool, float]:
        known = row.value is not None and row.value == row.value
        return not known, row.state != State.finished.value, sign * (row.value or 0.0)

    ordered = sorted(rows, key=order)
    ranked = [replace(row, rank=k) for k, row in enumerate(ordered, start=1) if not order(row)[0]]
    return Leaderboard(metric, best, [*ranked, *ordered[len(ranked) :]])


def ranked_by(sweep: Path, done: list[Outcome]) -> tuple[str, Best]:
    """The held-out number that ranks the jobs, and which value of it is best."""
    for one in done:
        place = sweep / str(one.job)
        if (place / CONFIG).exists():
            trainer = config_file.load_config(place).trainer
            return trainer.keep_best or METRIC, trainer.best
    return METRIC, Best.lowest


def value_of(summary: dict[str, Any] | None, metric: str) -> float | None:
    """What a run gave: of the number whose best weights it kept the best, else the last."""
    if summary is None:
        return None
    kept = summary.get("best")
    if kept is not None and kept["metric"] == metric and "value" in kept:
        return kept["value"]
    return summary["metrics"].get(metric)


def _row(sweep: Path, one: Outcome, own: list[str], metric: str) -> Row:
    summary = summary_of(sweep / str(one.job))
    pairs = dict(item.lstrip("+").split("=", 1) for item in own if "=" in item)
    step = None if summary is None else int(summary["metrics"]["step"])
    seconds = None if summary is None else summary["seconds"]
    value = value_of(summary, metric)
    return Row(None, one.job, one.state.value, value, step, seconds, pairs, one.error)


def columns(board: Leaderboard) -> list[str]:
    """The headings: what is varied stands between the value and how the job ended."""
    keys = list(dict.fromkeys(key for row in board.rows for key in row.overrides))
    return ["#", "job", board.metric, *keys, "step", "seconds", "state"]


def cells(board: Leaderboard, row: Row) -> list[str]:
    """What stands in a row, under `columns`."""
    keys = columns(board)[3:-3]
    value = "" if row.value is None else f"{row.value:.4f}"
    told = [_text(row.rank), str(row.job), value, *(row.overrides.get(key, "") for key in keys)]
    first = (row.error or "").partition("\n")[0]
    return [
        *told,
        _text(row.step),
        _text(row.seconds),
        f"{row.state}: {first}" if first else row.state,
    ]


def _text(value: float | None) -> str:
    return "" if value is None else str(value)


def show(board: Leaderboard) -> None:
    """Draws the board in the terminal."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(title=f"by {board.metric}, {board.best.value} first", title_justify="left")
    for name in columns(board):
        shown.add_column(name, overflow="fold")
    for row in board.rows:
        shown.add_row(*cells(board, row))
    Console().print(shown)


def markdown(board: Leaderboard) -> str:
    """The board as a page."""

    def line(items: list[str]) -> str:
        return "| " + " | ".join(item.replace("|", "\\|") for item in items) + " |"

    head = columns(board)
    rows = [line(cells(board, row)) for row in board.rows]
    return "\n".join([line(head), line(["---"] * len(head)), *rows]) + "\n"
