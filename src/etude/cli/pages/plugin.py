"""The help page of one option: source, knobs with their values, and compatible options.

Read from syntax trees and YAML files, without imports. For a preset: the plugin it is based on, the
parts it chooses, and every knob of both with the preset's value.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etude.cli.pages.group import describe_own
from etude.cli.pages.knobs import entry, short_value
from etude.config.capabilities import architectures_for
from etude.config.compatibility import data_for, readable_kinds, reward_objectives
from etude.config.plugin_files import options
from etude.config.plugin_source import (
    Declared,
    Description,
    base_option,
    descriptions,
    knobs,
    preset_parts,
    presets,
)
from etude.config.root_schemas import multi_choice_groups
from etude.config.yaml_file import read_yaml


@dataclass(frozen=True)
class Choice:
    """The plugin that an option is or is based on, and what presets change in it."""

    plugin: Description
    presets: tuple[Path, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict[str, str])
    """The options of parts that presets override."""
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The values that presets set, nested as in YAML."""


def choice(group: str, name: str) -> Choice:
    """Resolves an option to its plugin. Raises ConfigError if there is none."""
    file = presets(group).get(name)
    base_name = file and base_option(file)
    if not file or not base_name:
        return Choice(describe_own(f"{group}/{name}"))
    content: dict[str, Any] = read_yaml(file)
    del content["defaults"]
    parts = preset_parts(group, name)
    base = choice(group, base_name)
    return Choice(
        base.plugin, (file, *base.presets), {**base.parts, **parts}, merge(base.values, content)
    )


def merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Merges two nested mappings; values of `upper` take precedence."""
    both = {
        key: merge(lower[key], value)
        for key, value in upper.items()
        if isinstance(value, dict) and isinstance(lower.get(key), dict)
    }
    return {**lower, **upper, **both}


def page(group: str, name: str) -> str:
    """The page of one option, as `etude show` prints it."""
    chosen = choice(group, name)
    plugin = chosen.plugin
    parts = [_header(group, name, chosen), _declarations(plugin), _compatible(group, plugin)]
    parts += _knobs(group, plugin, chosen.parts, chosen.values)
    parts += _columns(plugin)
    return "\n\n".join(part for part in parts if part)


def keys_page(group: str, name: str) -> str:
    """The knobs of one option, without the rest of its page."""
    chosen = choice(group, name)
    entries = _knobs(group, chosen.plugin, chosen.parts, chosen.values)
    return "\n\n".join((*entries, *_columns(chosen.plugin)))


def key_of(group: str, plugin: Description) -> str:
    """The prefix of a plugin's keys, such as `objective`."""
    key = group.replace("/", ".")
    name = plugin.address.rpartition("/")[2]
    return f"{key}.{name}" if group in multi_choice_groups() else key


def compatible(group: str, plugin: Description) -> dict[str, list[str]]:
    """The options of other groups that a plugin can be used with, for groups with restrictions."""
    objectives = descriptions("objective")
    if group == "objective":
        others = {
            "architecture": architectures_for(plugin.names("needs")),
            "data": data_for(plugin.names("reads")),
        }
        return {**others, "reward": options("reward")} if plugin.declared.get("reward") else others
    if group == "architecture":
        provides = plugin.names("provides")
        return {"objective": [n for n, o in objectives.items() if o.names("needs") <= provides]}
    if kind := plugin.names("yields"):  # a container of rows has the kind of its data/record
        names = [n for n, o in objectives.items() if kind & readable_kinds(o.names("reads"))]
        return {"objective": names}
    return {"objective": reward_objectives()} if group == "reward" else {}


def _header(group: str, name: str, chosen: Choice) -> str:
    lines: list[str] = []
    for file in chosen.presets:
        lines += [f"{group}={file.stem}  {file}", *_comment(file), ""]
        name = chosen.plugin.address.rpartition("/")[2]
    prefix = "based on " if chosen.presets else ""
    return "\n".join([*lines, f"{prefix}{group}={name}  {chosen.plugin.file}", chosen.plugin.doc])


def _comment(file: Path) -> list[str]:
    """The lines of a YAML file's header comment."""
    lines: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines += [line.lstrip("# ")] if "@package" not in line else []
    return lines


def _declarations(plugin: Description) -> str:
    return "\n".join(f"{key}: {declared_text(value)}" for key, value in plugin.declared.items())


def declared_text(value: Declared) -> str:
    """A declared value as typed on the command line; several names in alphabetical order."""
    return ", ".join(sorted(value)) if isinstance(value, frozenset) else short_value(value)


def _compatible(group: str, plugin: Description) -> str:
    lines = [
        f"fits {other}: {', '.join(names) or 'none'}"
        for other, names in compatible(group, plugin).items()
    ]
    return "\n".join(lines)


def _knobs(
    group: str, plugin: Description, parts: Mapping[str, str], values: Mapping[str, Any]
) -> Iterator[str]:
    """Yields every knob, then each part with its knobs."""
    key = key_of(group, plugin)
    for knob in plugin.knobs:
        if not knob.group:
            value = short_value(values[knob.name]) if knob.name in values else None
            yield entry(f"{key}.{knob.name}", knob, value)
    for knob in plugin.knobs:
        option = parts.get(knob.name, knob.option)
        slot = f"{group}/{knob.name}"
        if knob.group and option is None:
            yield f"{slot}  ({', '.join(options(slot))}; no default)"
        elif knob.group:
            part = choice(slot, str(option))
            yield f"{slot}={option}  {part.plugin.file}\n    {part.plugin.summary}"
            inner = merge(part.values, values.get(knob.name) or {})
            yield from _knobs(slot, part.plugin, part.parts, inner)


def _columns(plugin: Description) -> Iterator[str]:
    """Yields the names of the fields that a record reads, as keys of the column map."""
    if name := plugin.declared.get("columns"):
        for knob in knobs(str(name), plugin.file):
            yield entry(f"data.columns.{knob.name}", knob, None)
