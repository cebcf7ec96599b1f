"""Analysis of a sweep: the importance of each key, and how the metric depends on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from etude.cli.pages.report.groups import ABSENT, differing_keys, value_of
from etude.cli.pages.report.markup import format_value, join_markup, table, tag
from etude.cli.pages.report.runs import number
from etude.cli.pages.report.view import Section, View

MIN_RUNS = 3
MAX_KEYS = 12
"""Maximum number of keys that are drawn, the most important ones."""
LEVELS = 6
"""A numeric key with more distinct values is treated as continuous."""
DECADES = 10
"""Minimum ratio of largest to smallest positive value for a logarithmic axis."""


@dataclass(frozen=True)
class Varied:
    """A key that varies between the runs of a sweep, with each run's value."""

    name: str
    values: Sequence[Any]
    with_it: Sequence[str] = ()
    """Other keys that always vary together with it."""

    @property
    def is_numeric(self) -> bool:
        """Whether all values are numbers."""
        return all(number(value) is not None for value in self.values)

    @property
    def is_log(self) -> bool:
        """Whether the values span decades."""
        if not self.is_numeric:
            return False
        return min(self.values) > 0 and max(self.values) / min(self.values) >= DECADES

    def levels(self) -> list[Any]:
        """The distinct values; numbers are sorted."""
        found = list({value_of(value): value for value in self.values}.values())
        return sorted(found) if self.is_numeric else found


def varied_keys(configs: Sequence[Mapping[str, Any]]) -> list[Varied]:
    """Returns the varying keys that every config has; keys that vary together are merged."""
    found: dict[tuple[int, ...], Varied] = {}
    for key in differing_keys(configs):
        if all(key in config for config in configs):
            values = [config.get(key, ABSENT) for config in configs]
            seen = list(map(value_of, values))
            pattern = tuple(seen.index(value) for value in seen)
            same = found.get(pattern)
            made = Varied(key, values) if same is None else None
            found[pattern] = made or _merge(same, key, values)
    return list(found.values())


def importance(key: Varied, metric: Sequence[float]) -> float | None:
    """Returns the fraction of the metric's variance that the key alone explains, in [0, 1].

    Adjusted R2 of a mean per level, or of a parabola in a continuous key. So a key without effect
    is near 0 for any number of levels. None if there are too few runs.
    """
    y = np.asarray(metric, dtype=float)
    levels = key.levels()
    if key.is_numeric and len(levels) > LEVELS:
        x = np.asarray(key.values, dtype=float)
        x = np.log(x) if key.is_log else x
        x = (x - x.mean()) / x.std()
        design = np.stack([np.ones_like(x), x, x**2], axis=1)
    else:
        names = [value_of(level) for level in levels]
        at = np.asarray([names.index(value_of(value)) for value in key.values])
        design = (at[:, None] == np.arange(len(names))).astype(float)
    n, p = design.shape
    total = float(((y - y.mean()) ** 2).sum())
    if n <= p or total == 0:
        return None
    fitted = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    left = float(((y - fitted) ** 2).sum())
    return max(0.0, 1 - (left / (n - p)) / (total / (n - 1)))


def section(view: View) -> Section | None:
    """Returns importance, parallel coordinates and response curves of the keys that vary."""
    held = [i for i in view.ranked_runs() if view.runs[i].config]
    keys = varied_keys([view.runs[i].config for i in held]) if len(held) >= MIN_RUNS else []
    if not keys:
        return None
    metric = [view.runs[i].last(view.metric) or 0.0 for i in held]
    scores = {key.name: importance(key, metric) for key in keys}
    keys.sort(key=lambda key: -(-1.0 if (score := scores[key.name]) is None else score))
    rows = [_row(key, scores[key.name]) for key in keys]
    note = (
        f"Importance: the share of the variance of {view.metric} that a key explains alone, "
        f"adjusted for its number of levels, over {len(held)} runs. "
        "Interactions between keys are not included."
    )
    drawn = [_axis(key, metric) for key in keys[:MAX_KEYS]]
    body = join_markup(
        [
            tag("p", note, css="soft"),
            table(["key", "levels", "importance", "", "varies with"], rows),
            tag("h3", "Parallel coordinates"),
            tag("div", css="grid", id="parallel-coordinates"),
            tag("h3", "Response"),
            tag("div", css="grid", id="response"),
        ]
    )
    data = {"metric": view.metric, "runs": held, "values": metric, "keys": drawn}
    return Section(body, {"sweep": {**data, "best": view.best.value}})


def _merge(same: Varied | None, key: str, values: Sequence[Any]) -> Varied:
    assert same is not None, "a merged key has an earlier one"
    return Varied(same.name, same.values, (*same.with_it, key))


def _row(key: Varied, score: float | None) -> list[object]:
    width = 0 if score is None else round(8 * score, 2)
    bar = tag("div", css="bar", style=f"width:{width}rem") if width else ""
    levels = ", ".join(map(format_value, key.levels()[:LEVELS]))
    more = len(key.levels()) - LEVELS
    text = f"{levels}, {more} more" if more > 0 else levels
    return [key.name, text, None if score is None else round(score, 3), bar, ", ".join(key.with_it)]


def _axis(key: Varied, metric: Sequence[float]) -> dict[str, Any]:
    """Returns the positions of the runs on an axis, and the mean metric at each level."""
    levels = key.levels()
    names = [value_of(level) for level in levels]
    at = [names.index(value_of(value)) for value in key.values]
    places = list(key.values) if key.is_numeric else at
    means = [
        fmean(m for m, place in zip(metric, at, strict=True) if place == k)
        for k in range(len(levels))
    ]
    return {
        "name": key.name,
        "places": places,
        "log": key.is_log,
        "ticks": None if key.is_numeric else [format_value(level) for level in levels],
        "mean": {"x": levels if key.is_numeric else list(range(len(levels))), "y": means},
    }
