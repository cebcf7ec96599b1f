"""What there is to know of one choice: source, knobs with their values, what it fits with.

Read from syntax trees and YAML, so it costs no import. A preset is shown as what it stands for: its
stack, the parts it chooses, and every knob of both with the value the preset gives it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from etude.cli.pages.knobs import entry, typed
from etude.config.compatibility import data_for, families_for, readable, takers
from etude.config.hydra_source import many_of_a_kind
from etude.config.plugin_files import options
from etude.config.plugin_source import (
    Declared,
    Description,
    describe,
    descriptions,
    presets,
    stands_on,
)


@dataclass(frozen=True)
class Choice:
    """The plugin that an option of a group comes down to, and what presets change of it."""

    plugin: Description
    presets: tuple[Path, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict[str, str])
    """The option of each slot that a preset fills in its own way."""
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What presets set, nested as in YAML."""


def choice(group: str, name: str) -> Choice:
    """Follows a preset to the plugin at its bottom. Raises ConfigError if there is none."""
    file = presets(group).get(name)
    below = file and stands_on(file)
    if not file or not below:
        return Choice(describe(f"{group}/{name}"))
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    listed: list[Any] = content.pop("defaults")
    mappings: list[dict[str, str]] = [item for item in listed if isinstance(item, dict)]
    parts = {key.removeprefix("override "): v for item in mappings for key, v in item.items()}
    base = choice(group, below)
    return Choice(
        base.plugin, (file, *base.presets), {**base.parts, **parts}, merged(base.values, content)
    )


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested tables as one; where both have a value, that of `above` holds."""
    both = {
        key: merged(below[key], value)
        for key, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(key), dict)
    }
    return {**below, **above, **both}


def page(group: str, name: str) -> str:
    """The page of one option, as `etude show` prints it."""
    found = choice(group, name)
    parts = [_opening(group, name, found), _declared(found.plugin), _fits(group, found.plugin)]
    parts += _knobs(group, found.plugin, found.parts, found.values)
    return "\n\n".join(part for part in parts if part)


def keys_page(group: str, name: str) -> str:
    """The knobs of one option, without what its page says before them."""
    found = choice(group, name)
    return "\n\n".join(_knobs(group, found.plugin, found.parts, found.values))


def key_of(group: str, plugin: Description) -> str:
    """What the keys of a plugin's knobs begin with."""
    key = group.replace("/", ".")
    name = plugin.address.rpartition("/")[2]
    return f"{key}.{name}" if group in many_of_a_kind() else key


def fits(group: str, plugin: Description) -> dict[str, list[str]]:
    """The options of other groups that a plugin can be used with, where that is a question."""
    objectives = descriptions("objective")
    if group == "objective":
        found = {
            "architecture": families_for(plugin.names("needs")),
            "data": data_for(plugin.names("reads")),
        }
        return {**found, "reward": options("reward")} if plugin.declared.get("reward") else found
    if group == "architecture":
        able = plugin.names("provides")
        return {"objective": [n for n, o in objectives.items() if o.names("needs") <= able]}
    if group == "data":
        kind = plugin.names("yields")
        fitting = [n for n, o in objectives.items() if kind & readable(o.names("reads"))]
        return {"objective": fitting}
    return {"objective": takers()} if group == "reward" else {}


def _opening(group: str, name: str, found: Choice) -> str:
    lines: list[str] = []
    for file in found.presets:
        lines += [f"{group}={file.stem}  {file}", *_comment(file), ""]
        name = found.plugin.address.rpartition("/")[2]
    stands = "stands on " if found.presets else ""
    return "\n".join([*lines, f"{stands}{group}={name}  {found.plugin.file}", found.plugin.doc])


def _comment(file: Path) -> list[str]:
    """The lines of the comment a YAML file opens with."""
    lines: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines += [line.lstrip("# ")] if "@package" not in line else []
    return lines


def _declared(plugin: Description) -> str:
    return "\n".join(f"{key}: {written(value)}" for key, value in plugin.declared.items())


def written(value: Declared) -> str:
    """What a plugin declares, as it is typed; several names in alphabetical order."""
    return ", ".join(sorted(value)) if isinstance(value, frozenset) else typed(value)


def _fits(group: str, plugin: Description) -> str:
    lines = [
        f"fits {other}: {', '.join(names) or 'none'}"
        for other, names in fits(group, plugin).items()
    ]
    return "\n".join(lines)


def _knobs(
    group: str, plugin: Description, parts: Mapping[str, str], values: Mapping[str, Any]
) -> Iterator[str]:
    """Every knob, then the parts chosen with theirs."""
    key = key_of(group, plugin)
    for knob in plugin.knobs:
        if not knob.group:
            given = typed(values[knob.name]) if knob.name in values else None
            yield entry(f"{key}.{knob.name}", knob, given)
    for knob in plugin.knobs:
        option = parts.get(knob.name, knob.option)
        place = f"{group}/{knob.name}"
        if knob.group and option is None:
            yield f"{place}  ({', '.join(options(place))}; no default)"
        elif knob.group:
            part = choice(place, str(option))
            yield f"{place}={option}  {part.plugin.file}\n    {part.plugin.summary}"
            inside = merged(part.values, values.get(knob.name) or {})
            yield from _knobs(place, part.plugin, part.parts, inside)
