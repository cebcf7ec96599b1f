"""What the config of each verb takes: keys of its own, and groups with their default options.

Read from `conf/<verb>.yaml`, the root that it names, and the syntax tree of that root.
"""

import ast
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from etude.cli.pages.group import purposes
from etude.cli.pages.knobs import entry
from etude.cli.pages.plugin import choice
from etude.config.command_line import config_name
from etude.config.hydra_source import FOR, ROOTS, declared_default
from etude.config.plugin_files import configurations
from etude.config.plugin_source import Knob, knobs, lineage

FIRST = "train"
"""The verb whose defaults are shown before those of others."""


@dataclass(frozen=True)
class Default:
    """What a verb's config chooses in a group when the user does not."""

    options: tuple[str, ...] = ()
    declared_by: str = ""
    """The choice whose plugin declares it, such as objective=clm."""
    several: bool = False
    """Whether it is written as a list."""

    def __str__(self) -> str:
        names = ",".join(self.options)
        return f"[{names}]" if self.several else names or "null"


@dataclass(frozen=True)
class Keys:
    """What the config of a verb takes."""

    own: Mapping[str, Knob]
    """The keys that are in no group, such as seed and trainer.max_steps."""
    groups: Mapping[str, Default]
    nodes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Keys that hold further keys, such as trainer, each with what it is for."""


def verbs() -> list[str]:
    """The verbs that have a config, as they are typed; the one with the most keys first."""
    names = sorted(file.stem.replace("_", "-") for file in configurations()[0].glob("*.yaml"))
    return sorted(names, key=lambda name: name != FIRST)


@cache
def keys_of(verb: str) -> Keys:
    """Reads what a verb takes."""
    root, chosen = _written(config_name(verb))
    own: dict[str, Knob] = {}
    nested: dict[str, Knob] = {}
    nodes: dict[str, str] = {}
    for knob in knobs(root.__name__, _file(root)):
        inside = _inside(knob)
        if knob.name in chosen:
            continue
        if inside:
            nested |= {f"{knob.name}.{one.name}": one for one in inside}
            nodes[knob.name] = _doc(knob)
        else:
            own[knob.name] = knob
    return Keys(own | nested, {group: _default(group, chosen) for group in chosen}, nodes)


def help_lines(verb: str) -> str:
    """Every key and group that a verb takes, as its help page lists them."""
    keys = keys_of(verb)
    title = f"Keys of etude {verb}, as key = default  (legal values):"
    parts = [title, "\n".join(entry(key, knob) for key, knob in keys.own.items())]
    if keys.groups:
        parts += [
            "Groups, as group=default; `etude show <group>` lists the options and their keys:"
        ]
        parts += ["\n".join(_group_lines(keys.groups))]
    return "\n\n".join(parts)


def _group_lines(defaults: Mapping[str, Default]) -> list[str]:
    known = purposes()
    rows = [
        (
            f"{group}={default}",
            f"etude show {group}",
            f"Declared by {default.declared_by}." if default.declared_by else known.get(group, ""),
        )
        for group, default in defaults.items()
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    return [
        f"  {chosen:<{widths[0]}}  {command:<{widths[1]}}  {purpose}".rstrip()
        for chosen, command, purpose in rows
    ]


def verbs_with(group: str) -> dict[str, Default]:
    """The default option of a group in each verb that takes the group."""
    found = {verb: keys_of(verb).groups.get(group) for verb in verbs()}
    return {verb: default for verb, default in found.items() if default is not None}


def default_option(group: str) -> str | None:
    """The first option that `etude train`, or else another verb, chooses in a group.

    Of a nested group: what the default of the group around it chooses there.
    """
    for default in verbs_with(group).values():
        return next(iter(default.options), None)
    around, _, slot = group.rpartition("/")
    option = default_option(around) if around else None
    if option is None:
        return None
    found = choice(around, option)
    named = {knob.name: knob.option for knob in found.plugin.knobs}
    return found.parts.get(slot, named.get(slot))


def _written(config: str) -> tuple[type, dict[str, Any]]:
    """The root of a verb's config, and what its defaults list chooses in each group."""
    file = configurations()[0] / f"{config}.yaml"
    root: type | None = None
    chosen: dict[str, Any] = {}
    for item in yaml.safe_load(file.read_text(encoding="utf-8"))["defaults"]:
        if isinstance(item, dict):
            ((key, value),) = item.items()
            group = key.removeprefix("override ").lstrip("/")
            if "@" not in group and not group.startswith("hydra/"):
                chosen[group] = value
        elif item in ROOTS:
            root = ROOTS[item]
        elif item != "_self_":
            root, below = _written(item)
            chosen |= below
    assert root is not None, f"{file} names no root"
    return root, chosen


def _default(group: str, chosen: Mapping[str, Any]) -> Default:
    option = chosen[group]
    if isinstance(option, list):
        return Default(tuple(option), several=True)
    if str(option).startswith(FOR):
        objective = chosen["objective"]
        declared = declared_default(group, objective)
        names = (str(declared),) if declared else ()
        return Default(names, f"objective={objective}", several=not declared)
    return Default((option,) if option else ())


def _inside(knob: Knob) -> list[Knob]:
    """The keys of a node such as `trainer`; none of a plain value."""
    return list(knobs(knob.type, knob.home)) if re.fullmatch(r"\w+", knob.type) else []


def _doc(knob: Knob) -> str:
    *_, (node, _) = lineage(knob.type, knob.home)
    return " ".join((ast.get_docstring(node) or "").split())


def _file(root: type) -> Path:
    return Path(str(sys.modules[root.__module__].__file__))
