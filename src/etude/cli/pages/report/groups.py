"""Which runs differ only by their seed, and in what the others differ."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from etude.cli.pages.report.markup import shown
from etude.cli.pages.report.runs import Run

Row: TypeAlias = Mapping[str, Any]  # of values of a config
ABSENT = object()


@dataclass(frozen=True)
class Group:
    """Runs equal but for seed, by their places in the list of all."""

    label: str
    """What sets it apart from the other groups; empty if nothing does."""
    members: tuple[int, ...]


def groups_of(runs: Sequence[Run]) -> list[Group]:
    """The groups in the order of their first runs; a run without a config is its own."""
    members: dict[str, list[int]] = {}
    for i, run in enumerate(runs):
        known = json.dumps(run.config, sort_keys=True, default=str) if run.config else f"run {i}"
        members.setdefault(known, []).append(i)
    firsts = [runs[held[0]] for held in members.values()]
    keys = telling([first.config for first in firsts if first.config])
    return [
        Group(said(first.config, keys) if first.config else first.name, tuple(held))
        for first, held in zip(firsts, members.values(), strict=True)
    ]


def labels(runs: Sequence[Run], groups: Sequence[Group]) -> list[str]:
    """A name for each run: its folder's, and what sets it apart."""
    found = [run.name for run in runs]
    seeds = {str(run.seed) for run in runs if run.config}
    for group in groups:
        for i in group.members:
            more = [group.label] if group.label != runs[i].name else []
            if len(seeds) > 1 and runs[i].config:
                more.append(f"seed {shown(runs[i].seed)}")
            found[i] = " · ".join([runs[i].name, *(text for text in more if text)])
    return found


def differing(configs: Sequence[Row]) -> list[str]:
    """The keys that do not have one value in all configs, choices of plugins first."""
    keys = dict.fromkeys(key for config in configs for key in config)
    return [
        key for key in keys if len({value_of(config.get(key, ABSENT)) for config in configs}) > 1
    ]


def telling(configs: Sequence[Row]) -> list[str]:
    """A few differing keys that tell apart all that differ, the most telling ones first."""
    left = sorted(differing(configs), key=_looks_on)
    chosen = list[str]()
    distinct = 1
    while left:
        told = {key: len({_at(config, [*chosen, key]) for config in configs}) for key in left}
        best = max(left, key=lambda key: told[key])
        if told[best] <= distinct:
            break
        distinct = told[best]
        chosen.append(best)
        left.remove(best)
    return chosen


def said(config: Row, keys: Sequence[str]) -> str:
    """The values of some keys, as they stand on a command line."""
    return " ".join(f"{key}={shown(config[key])}" for key in keys if key in config)


def value_of(value: Any) -> str:  # what YAML holds
    """A value as something that can be compared; a key that is absent equals no value."""
    return "" if value is ABSENT else json.dumps(value, sort_keys=True, default=str)


def _looks_on(key: str) -> bool:
    """Whether a key is of what most often only looks on, and is named last."""
    return key.partition(".")[0] in ("callback", "logger")


def _at(config: Row, keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(value_of(config.get(key, ABSENT)) for key in keys)
