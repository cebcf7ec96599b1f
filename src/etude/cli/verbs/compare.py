"""Compares two evaluated models item by item: differences, intervals, tests.

    etude compare outputs/base outputs/sft
    etude compare outputs/base outputs/sft task=sums
    etude compare a.json b.json out=difference.json

Takes two run folders, or two result files of `etude evaluate`, and compares every task that both
were evaluated on. The items are paired by the content of their records. For each metric it prints
the difference with its 95 % interval, the p-value, and the smallest difference that this number of
items could detect; p-values are corrected for the number of tasks. A loss that depends on the
tokenizer is not compared between models whose tokenizers differ.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.cli.arguments import parse
from etude.errors import ConfigError
from etude.files.atomic import write_atomic
from etude.files.run_folder import EVALUATIONS

if TYPE_CHECKING:  # imports torch: only after all checks
    from etude.evaluation.comparison import Comparison, Difference

KEYS = ("first", "second", "task", "out")
SHOWN_SETTINGS = 8


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    given = [one for one in arguments if "=" not in one]
    if len(given) > 2:
        raise ConfigError(f"etude compare takes two results, got {len(given)}.")
    named = [f"{key}={value}" for key, value in zip(KEYS, given, strict=False)]
    values = parse("compare", KEYS, [*named, *(one for one in arguments if "=" in one)])
    if "second" not in values:
        raise ConfigError("etude compare needs two results: etude compare <run> <run>.")
    pairs = _pairs(Path(values["first"]), Path(values["second"]), values.get("task"))
    from etude.evaluation.comparison import compare, holm
    from etude.evaluation.result import read_result

    found = [
        one
        for task, (first, second) in pairs.items()
        for one in compare(task, read_result(first), read_result(second))
    ]
    _refuse_nothing_shared(found, values)
    tested = [one for one in found if one.differences]
    adjusted = holm([one.differences[0].p for one in tested])
    for one in found:
        corrected = adjusted[tested.index(one)] if one in tested and len(tested) > 1 else None
        print("\n".join([*_lines(one, corrected), ""]))
    if "out" in values:
        write_atomic(Path(values["out"]), json.dumps(_rows(found), indent=1) + "\n")
        print(values["out"])
    return 0


def _pairs(first: Path, second: Path, task: str | None) -> Mapping[str, tuple[Path, Path]]:
    """The result files of both, by the task that they share."""
    ours, theirs = _results(first), _results(second)
    if first.is_file() and second.is_file():
        return {next(iter(ours)): (first, second)}
    shared = {name: (ours[name], theirs[name]) for name in sorted(ours.keys() & theirs.keys())}
    if task is not None:
        shared = {name: files for name, files in shared.items() if name == task}
    if not shared:
        what = "no task" if task is None else f"task={task} not"
        raise ConfigError(
            f"{first} and {second} share {what}.\n"
            f"  {first} has {', '.join(ours) or 'no evaluations'}; {second} has "
            f"{', '.join(theirs) or 'no evaluations'}.\n"
            "  Evaluate both on the same task: etude evaluate run=<run> task=<task>."
        )
    return shared


def _results(place: Path) -> dict[str, Path]:
    """The result files of a run by task; a file itself."""
    if place.is_file():
        return {place.stem: place}
    if not place.is_dir():
        raise ConfigError(f"{place} is neither a run folder nor a result file.")
    return {file.stem: file for file in sorted((place / EVALUATIONS).glob("*.json"))}


def _refuse_nothing_shared(found: "list[Comparison]", values: Mapping[str, str]) -> None:
    if not any(one.n_items for one in found):
        raise ConfigError(
            f"{values['first']} and {values['second']} share no item: they were evaluated on "
            "different records.\n  Evaluate both with the same data and split."
        )
    if not any(one.differences for one in found):
        raise ConfigError("\n  ".join(line for one in found for line in one.left_out))


def _lines(one: "Comparison", corrected: float | None) -> list[str]:
    lines = [f"{one.task} / {one.evaluator}: {one.n_items:,} items of both"]
    if one.n_unpaired:
        lines.append(f"  left out: {one.n_unpaired:,} items that only one result has")
    lines += [f"  {_line(difference)}" for difference in one.differences]
    if corrected is not None:
        name = one.differences[0].metric.name
        lines.append(f"  {name}: p {corrected:.2g} after the correction for all tasks (Holm)")
    lines += [f"  not compared: {reason}" for reason in one.left_out]
    if one.outcomes:
        cells = (f"{a}/{b} {n:,}" for (a, b), n in sorted(one.outcomes.items()))
        lines.append(f"  outcomes, first/second: {', '.join(cells)}")
    lines += [f"  asked differently: {text}" for text in one.settings[:SHOWN_SETTINGS]]
    if (n_more := len(one.settings) - SHOWN_SETTINGS) > 0:
        lines.append(f"  asked differently: {n_more} more settings")
    return lines


def _line(found: "Difference") -> str:
    return (
        f"{found.metric.name:<16} {found.first:.4f} -> {found.second:.4f}  {found.value:+.4f} "
        f"({found.low:+.4f} to {found.high:+.4f}), p {found.p:.2g}, "
        f"detectable {found.detectable:.4f}; {found.method}"
    )


def _rows(found: "list[Comparison]") -> list[dict[str, Any]]:
    """The comparisons as JSON."""
    return [
        {
            "task": one.task,
            "evaluator": one.evaluator,
            "n_items": one.n_items,
            "n_unpaired": one.n_unpaired,
            "differences": [{**asdict(each), "difference": each.value} for each in one.differences],
            "not_compared": list(one.left_out),
            "asked_differently": list(one.settings),
        }
        for one in found
    ]
