"""Compares settings over seeds: pairs of runs with the same seed, at equal tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean

import numpy as np

from etude.cli.pages.report.groups import Group
from etude.cli.pages.report.markup import format_value, join_markup, table, tag
from etude.cli.pages.report.runs import Run
from etude.cli.pages.report.statistics import Interval, interval
from etude.cli.pages.report.view import NOT_COMPARABLE, Section, View
from etude.config.schema.trainer import Best

MIN_SEEDS = 2
"""Minimum number of seeds that two groups must share."""
MAX_GROUPS = 10
"""Maximum number of groups that are compared in pairs; the best ones are kept."""


@dataclass(frozen=True)
class RunComparison:
    """How much better the first group's metric is than the second's, both at `tokens`."""

    first: Group
    second: Group
    tokens: float
    ahead: Interval
    """Difference in units of the metric; positive if the first group is better."""

    def sentence(self) -> str:
        """Returns the result as a sentence."""
        by = replace(self.ahead, mean=abs(self.ahead.mean)).text()
        where = f"at equal tokens ({format_value(self.tokens)}; {self.ahead.n} seeds)"
        first = self.first.label
        second = self.second.label
        if not self.ahead.is_clear:
            return f"No clear difference between {first} and {second}: {by} {where}"
        better, worse = (first, second) if self.ahead.mean > 0 else (second, first)
        return f"{better} beats {worse} by {by} {where}"


def compare(
    runs: Sequence[Run], first: Group, second: Group, metric: str, best: Best
) -> RunComparison | None:
    """Returns the comparison; None if fewer than two seeds have the metric in both groups.

    The metric is read at the end of the shortest run, interpolated linearly.
    """
    one = _by_seed(runs, first, metric)
    other = _by_seed(runs, second, metric)
    seeds = [seed for seed in one if seed in other]
    curves = [group[seed] for group in (one, other) for seed in seeds]
    tokens = min((at[-1] for at, _ in curves), default=0.0)
    seeds = [s for s in seeds if one[s][0][0] <= tokens and other[s][0][0] <= tokens]
    if len(seeds) < MIN_SEEDS:
        return None
    sign = -1 if best is Best.lowest else 1
    ahead = [sign * (_at(one[seed], tokens) - _at(other[seed], tokens)) for seed in seeds]
    return RunComparison(first, second, tokens, interval(ahead))


def section(view: View) -> Section | None:
    """Returns the comparison of every two groups; the runs of a group differ only by seed."""
    order = {i: place for place, i in enumerate(view.ranked_runs())}
    groups = [group for group in view.groups if any(i in order for i in group.members)]
    groups.sort(key=lambda group: fmean(order[i] for i in group.members if i in order))
    if len(groups) < 2:
        return None
    pairs = list(combinations(groups[:MAX_GROUPS], 2))
    fair = [(a, b) for a, b in pairs if view.is_comparable(a.members[0], b.members[0])]
    found = [
        made
        for first, second in fair
        if (made := compare(view.runs, first, second, view.metric, view.best))
    ]
    if not found:
        text = "Runs that differ only in their seed form a group; no two groups share two seeds."
        return Section(tag("p", text if fair else NOT_COMPARABLE, css="soft"))
    note = (
        f"Runs that differ only in their seed form a group. {view.metric} of runs with the same "
        "seed is subtracted at the end of the shortest run; the interval is Student's t at 95 %, "
        f"not corrected for the number of comparisons ({len(found)}). "
        + (NOT_COMPARABLE if len(fair) < len(pairs) else "")
    )
    items = [tag("li", c.sentence(), css="good" if c.ahead.is_clear else "soft") for c in found]
    return Section(
        join_markup([tag("p", note, css="soft"), _means(view, groups), tag("ul", *items)])
    )


def _means(view: View, groups: Sequence[Group]) -> object:
    rows: list[list[object]] = []
    for group in groups:
        values = [v for i in group.members if (v := view.runs[i].last(view.metric)) is not None]
        mean = interval(values)
        rows.append([group.label, mean.n, mean.text()])
    return table(["group", "seeds", f"{view.metric} at the end, 95 % interval"], rows)


Curve = tuple[Sequence[float], Sequence[float]]


def _by_seed(runs: Sequence[Run], group: Group, metric: str) -> Mapping[str, Curve]:
    """Returns tokens and metric of every run that reported it, by seed."""
    found: dict[str, Curve] = {}
    for i in group.members:
        rows = [row for row in runs[i].steps if metric in row and "tokens" in row]
        if rows:
            curve = [row["tokens"] for row in rows], [row[metric] for row in rows]
            found[str(runs[i].seed)] = curve
    return found


def _at(curve: Curve, tokens: float) -> float:
    return float(np.interp(tokens, *curve))
