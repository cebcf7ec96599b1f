"""Sections from the records of runs: ranking, differences, samples, data, costs, machines."""

from statistics import median
from typing import Any

from etude.cli.pages.report.curves import SPEED, cost
from etude.cli.pages.report.groups import differing_keys
from etude.cli.pages.report.markup import NONE, Markup, format_value, join_markup, table, tag
from etude.cli.pages.report.runs import Row, Run, flat, number
from etude.cli.pages.report.view import NOT_COMPARABLE, Section, View
from etude.config.schema.trainer import Best
from etude.files.run_folder import CARD, HARDWARE, PARENTS, SUMMARY

SHOWN_TEXTS = 12
"""Maximum number of samples per run, the latest ones."""
SHOWN_OPEN = 4
"""With at most this many runs, the samples are expanded."""


def leaderboard(view: View) -> Section:
    """Returns the table of all runs, best first."""
    order = view.ranked_runs()
    order += [i for i in range(len(view.runs)) if i not in order]
    metrics = dict.fromkeys(
        key for run in view.runs for row in run.steps[-1:] for key in row if key.startswith("val/")
    )
    others = [name for name in metrics if name != view.metric][:4]
    head = ["", "run", "state", "step", "tokens", view.metric, "best", "at step", *others]
    rows: list[list[object]] = []
    for place, i in enumerate(order, start=1):
        run = view.runs[i]
        at, best = _best(run, view.metric, view.best)
        reached = [run.last("step"), run.last("tokens"), run.last(view.metric), best, at]
        more = [run.last(name) for name in others]
        rows.append([place, view.labels[i], run.state.value, *reached, *more])
    text = [f"{view.metric}, {view.best.value} first; the last value, and the best one."]
    if not view.ranked_runs():
        text.append(f" No run has reported {view.metric}. Choose another with metric=<name>.")
    elif not view.is_comparable(*view.ranked_runs()):
        text.append(f" {NOT_COMPARABLE}")
    return Section(join_markup([tag("p", *text, css="soft"), table(head, rows)]))


def differences(view: View) -> Section | None:
    """Returns the config keys whose values differ between runs."""
    known = [i for i, run in enumerate(view.runs) if run.config]
    keys = differing_keys([view.runs[i].config for i in known])
    if not keys:
        return None
    rows = [[key, *(_cell(view.runs[i].config.get(key)) for i in known)] for key in keys]
    head = ["key", *(view.runs[i].name for i in known)]
    if len(known) > len(keys):
        head, *rows = map(list, zip(head, *rows, strict=True))
        head[0] = "run"
    text = "Only keys with different values, without seeds and folders."
    return Section(join_markup([tag("p", text, css="soft"), table(list(map(str, head)), rows)]))


def samples(view: View) -> Section | None:
    """Returns the networks' outputs for held-out records, latest first."""
    parts: list[Markup] = []
    for run, name in zip(view.runs, view.labels, strict=True):
        if run.samples:
            latest, *earlier = list(reversed(run.samples))[:SHOWN_TEXTS]
            inside = [tag("summary", name), _texts(latest)]
            if earlier:
                before = tag("summary", f"{len(earlier)} earlier samples")
                inside.append(tag("details", before, *map(_texts, earlier)))
            whole = tag("details", *inside, open="open" if len(view.runs) <= SHOWN_OPEN else "")
            parts.append(whole)
    return Section(join_markup(parts)) if parts else None


def data(view: View) -> Section | None:
    """Returns the data cards, one per distinct data set."""
    by_digest: dict[str, list[int]] = {}
    for i, run in enumerate(view.runs):
        if run.facts[CARD]:
            by_digest.setdefault(str(run.facts[CARD].get("digest")), []).append(i)
    cards = [view.runs[held[0]].facts[CARD] for held in by_digest.values()]
    if not cards:
        return None
    flattened = [dict(flat(card)) for card in cards]
    keys = dict.fromkeys(key for card in flattened for key in card)
    rows = [[key, *(_cell(card.get(key)) for card in flattened)] for key in keys]
    runs = ["runs", *(", ".join(view.runs[i].name for i in held) for held in by_digest.values())]
    head = ["", *(str(card.get("source", NONE)) for card in cards)]
    return Section(table(head, [runs, *rows]))


def costs(view: View) -> Section:
    """Returns size, speed, FLOPs and parents of every run."""
    speeds = dict.fromkeys(key for run in view.runs for row in run.perf for key in row)
    speeds = [key for key in speeds if key.startswith(SPEED)]
    head = ["run", "parameters", "seconds", "tokens/s", *speeds, "FLOPs", "from", "parents"]
    rows: list[list[object]] = []
    for run in view.runs:
        seconds = run.last("seconds")
        tokens = run.last("tokens")
        rate = round(tokens / seconds) if seconds and tokens else None
        run_cost = cost(run, view.runs)
        flops = None if run_cost is None or tokens is None else f"{run_cost.flops * tokens:.3g}"
        parents = {key: str(digest)[:12] for key, digest in run.facts[PARENTS].items()}
        row: list[object] = [run.name, run.parameters, seconds, rate]
        row += [_median(run, key) for key in speeds]
        rows.append([*row, flops, None if run_cost is None else run_cost.source, _short(parents)])
    text = "tokens/s over the whole run, validation included; perf/* are medians of perf.jsonl."
    return Section(join_markup([tag("p", text, css="soft"), table(head, rows), _machines(view)]))


def _machines(view: View) -> Markup:
    """Returns the machine of each run."""
    by: dict[tuple[object, object], list[str]] = {}
    for run in view.runs:
        place = _short(run.facts[HARDWARE]), _short(run.facts[SUMMARY].get("versions"))
        by.setdefault(place, []).append(run.name)
    rows = [[*place, ", ".join(held)] for place, held in by.items()]
    return join_markup([tag("h3", "Machines"), table(["hardware", "versions", "runs"], rows)])


def _texts(row: Row) -> Markup:
    texts: list[Any] = row["texts"]
    head = tag("h3", f"step {format_value(row.get('step'))}")
    return join_markup([head, *(tag("pre", str(text)) for text in texts)])


def _best(run: Run, metric: str, best: Best) -> tuple[float | None, float | None]:
    """Returns the step of the best value, and the value."""
    at: tuple[float | None, float | None] = None, None
    for row in run.steps:
        if metric in row and best.improves(row[metric], at[1]):
            at = row["step"], row[metric]
    return at


def _median(run: Run, key: str) -> float | None:
    values = [row[key] for row in run.perf if key in row]
    return median(values) if values else None


def _short(facts: Any) -> str | None:  # what JSON holds
    if not isinstance(facts, dict) or not facts:
        return None
    return ", ".join(f"{key} {format_value(value)}" for key, value in flat(facts))


def _cell(value: Any) -> object:  # what YAML holds
    return value if number(value) is not None else format_value(value)
