"""Groups runs that differ only by their seed, and finds the keys in which the groups differ."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from etude.cli.pages.report.markup import format_value
from etude.cli.pages.report.runs import Run

Row: TypeAlias = Mapping[str, Any]  # of values of a config
ABSENT = object()


@dataclass(frozen=True)
class Group:
    """Runs that differ only by seed, as indices into the list of all runs."""

    label: str
    """The settings that distinguish it from the other groups; empty if there are none."""
    members: tuple[int, ...]


def groups_of(runs: Sequence[Run]) -> list[Group]:
    """Returns the groups in order of their first runs; a run without a config is its own group."""
    members: dict[str, list[int]] = {}
    for i, run in enumerate(runs):
        known = json.dumps(run.config, sort_keys=True, default=str) if run.config else f"run {i}"
        members.setdefault(known, []).append(i)
    firsts = [runs[held[0]] for held in members.values()]
    keys = distinguishing_keys([first.config for first in firsts if first.config])
    return [
        Group(key_values(first.config, keys) if first.config else first.name, tuple(held))
        for first, held in zip(firsts, members.values(), strict=True)
    ]


def labels(runs: Sequence[Run], groups: Sequence[Group]) -> list[str]:
    """Returns a name for each run: its folder's, and its distinguishing settings."""
    found = [run.name for run in runs]
    seeds = {str(run.seed) for run in runs if run.config}
    for group in groups:
        for i in group.members:
            more = [group.label] if group.label != runs[i].name else []
            if len(seeds) > 1 and runs[i].config:
                more.append(f"seed {format_value(runs[i].seed)}")
            found[i] = " · ".join([runs[i].name, *(text for text in more if text)])
    return found


def differing_keys(configs: Sequence[Row]) -> list[str]:
    """Returns the keys whose values differ between configs, choices of plugins first."""
    keys = dict.fromkeys(key for config in configs for key in config)
    return [
        key for key in keys if len({value_of(config.get(key, ABSENT)) for config in configs}) > 1
    ]


def distinguishing_keys(configs: Sequence[Row]) -> list[str]:
    """Returns a few keys that distinguish all different configs, most distinguishing first."""
    left = sorted(differing_keys(configs), key=_is_observer)
    chosen = list[str]()
    distinct = 1
    while left:
        n_distinct = {key: len({_at(config, [*chosen, key]) for config in configs}) for key in left}
        best = max(left, key=lambda key: n_distinct[key])
        if n_distinct[best] <= distinct:
            break
        distinct = n_distinct[best]
        chosen.append(best)
        left.remove(best)
    return chosen


def key_values(config: Row, keys: Sequence[str]) -> str:
    """Returns the values of some keys, as typed on the command line."""
    return " ".join(f"{key}={format_value(config[key])}" for key in keys if key in config)


def value_of(value: Any) -> str:  # what YAML holds
    """Returns a comparable form of a value; a missing key is different from every value."""
    return "" if value is ABSENT else json.dumps(value, sort_keys=True, default=str)


def _is_observer(key: str) -> bool:
    """Returns whether a key belongs to a callback or logger; these are listed last."""
    return key.partition(".")[0] in ("callback", "logger")


def _at(config: Row, keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(value_of(config.get(key, ABSENT)) for key in keys)
