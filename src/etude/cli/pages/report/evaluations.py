"""The section of results of `etude evaluate`: one table for each task and evaluator."""

from collections.abc import Iterator
from typing import Any

from etude.cli.pages.report.markup import NONE, Markup, format_value, join_markup, table, tag
from etude.cli.pages.report.runs import Run
from etude.cli.pages.report.view import Section, View
from etude.errors import CheckpointError
from etude.files.json_file import read_json
from etude.files.run_folder import EVALUATIONS

NOTE = (
    "With 95 % intervals of each run alone. They overlap even where the difference is clear: "
    "etude compare A B pairs two runs item by item."
)


def section(view: View) -> Section | None:
    """Returns the metrics of every evaluated run, by task and evaluator."""
    rows: dict[tuple[str, str], list[list[object]]] = {}
    heads: dict[tuple[str, str], list[str]] = {}
    for run, label in zip(view.runs, view.labels, strict=True):
        for task, evaluator, metrics in _results(run):
            key = task, evaluator
            names = heads.setdefault(key, [str(one["name"]) for one in metrics])
            cells = {str(one["name"]): _cell(one) for one in metrics}
            rows.setdefault(key, []).append([label, *(cells.get(name, NONE) for name in names)])
    if not rows:
        return None
    parts: list[Markup] = [tag("p", NOTE, css="soft")]
    for key, found in rows.items():
        parts += [tag("h3", " / ".join(dict.fromkeys(key))), table(["run", *heads[key]], found)]
    return Section(join_markup(parts))


def _results(run: Run) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """Yields task, evaluator and metrics of each result of a run that can be read."""
    for file in sorted((run.folder / EVALUATIONS).glob("*.json")):
        try:
            results = read_json(file)["results"]
            found = [(file.stem, name, part["metrics"]) for name, part in results.items()]
        except (CheckpointError, LookupError, TypeError, AttributeError):
            found = [(file.stem, "cannot be read", [])]
        yield from found


def _cell(metric: dict[str, Any]) -> str:
    value, low, high = (format_value(metric.get(key)) for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"
