"""Lists what the config of each verb takes: its own keys, and groups with their default options.

Read from `conf/<verb>.yaml`, its root schema, and the syntax tree of that schema.
"""

import ast
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from etude.cli.pages.group import purposes
from etude.cli.pages.knobs import entry
from etude.cli.pages.plugin import choice
from etude.config.command_line import config_name
from etude.config.hydra_source import FOR, declared_default
from etude.config.plugin_files import configurations
from etude.config.plugin_source import Knob, knobs
from etude.config.root_schemas import ROOTS
from etude.config.source_tree import lineage
from etude.config.yaml_file import read_yaml

MAIN_VERB = "train"
"""The verb whose defaults are shown first."""


@dataclass(frozen=True)
class Default:
    """The default option of a group in a verb's config."""

    options: tuple[str, ...] = ()
    declared_by: str = ""
    """The choice whose plugin declares this default, such as objective=clm."""
    several: bool = False
    """Whether the group takes a list."""

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
    """Keys that contain keys, such as trainer, with their purpose."""


def verbs() -> list[str]:
    """The verbs that have a config, as typed on the command line; `MAIN_VERB` first."""
    names = sorted(file.stem.replace("_", "-") for file in configurations()[0].glob("*.yaml"))
    return sorted(names, key=lambda name: name != MAIN_VERB)


@cache
def keys_of(verb: str) -> Keys:
    """Reads the keys and groups that a verb takes."""
    root, chosen = _defaults_list(config_name(verb))
    own: dict[str, Knob] = {}
    nested: dict[str, Knob] = {}
    nodes: dict[str, str] = {}
    for knob in knobs(root.__name__, _file(root)):
        inner = _inner_knobs(knob)
        if knob.name in chosen:
            continue
        if inner:
            nested |= {f"{knob.name}.{one.name}": one for one in inner}
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
    defaults = {verb: keys_of(verb).groups.get(group) for verb in verbs()}
    return {verb: default for verb, default in defaults.items() if default is not None}


def default_option(group: str) -> str | None:
    """The default option of a group in `etude train`, or else in another verb.

    For a nested group, the option that the default of its parent group chooses.
    """
    for default in verbs_with(group).values():
        return next(iter(default.options), None)
    parent, _, slot = group.rpartition("/")
    option = default_option(parent) if parent else None
    if option is None:
        return None
    chosen = choice(parent, option)
    defaults = {knob.name: knob.option for knob in chosen.plugin.knobs}
    return chosen.parts.get(slot, defaults.get(slot))


def _defaults_list(config: str) -> tuple[type, dict[str, Any]]:
    """The root schema of a verb's config, and the option of each group in its defaults list."""
    file = configurations()[0] / f"{config}.yaml"
    root: type | None = None
    chosen: dict[str, Any] = {}
    for item in read_yaml(file)["defaults"]:
        if isinstance(item, dict):
            ((key, value),) = item.items()
            group = key.removeprefix("override ").lstrip("/")
            if "@" not in group and not group.startswith("hydra/"):
                chosen[group] = value
        elif item in ROOTS:
            root = ROOTS[item]
        elif item != "_self_":
            root, inherited = _defaults_list(item)
            chosen |= inherited
    assert root is not None, f"{file} has no root schema"
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


def _inner_knobs(knob: Knob) -> list[Knob]:
    """The keys inside a node such as `trainer`; empty for a plain value."""
    return list(knobs(knob.type, knob.home)) if re.fullmatch(r"\w+", knob.type) else []


def _doc(knob: Knob) -> str:
    *_, (node, _) = lineage(knob.type, knob.home)
    return " ".join((ast.get_docstring(node) or "").split())


def _file(root: type) -> Path:
    return Path(str(sys.modules[root.__module__].__file__))
