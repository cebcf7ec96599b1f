"""Decides which values of a command line are free text, by the types of their fields.

Free text (a prompt, a path) is a field of type `str` or `Path`. It is taken literally, because
Hydra would parse its commas, spaces and brackets as syntax. Of any other type, Hydra parses it.
"""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import is_dataclass
from itertools import chain
from pathlib import Path
from typing import Any, get_type_hints

from etude.config.hydra_source import FOR
from etude.config.plugin_files import configurations, groups, options
from etude.config.plugin_source import base_plugin, defaults, describe, presets
from etude.config.root_schemas import ROOTS, multi_choice_groups, optional_groups
from etude.errors import ConfigError

TYPES = frozenset({"str", "str | None", "Path", "Path | None"})
"""The types of free text, as written in a plugin file."""
_PART = re.compile(r"""(?:^|,)("[^"]+"(?=,|\Z)|'[^']+'(?=,|\Z)|(?:\\,|[^,])*)""")
"""A value of a sweep: quoted, or without a comma that no backslash escapes."""
_SWEEP = re.compile(r"(?:choice|range|glob|shuffle|sort|tag|interval)\(.*\)", re.DOTALL)
"""A sweep in Hydra's grammar."""


def quote(override: str, overrides: Sequence[str], is_sweep: bool) -> str:
    """Returns an override in Hydra's grammar, free text quoted; `overrides` are all of a command.

    `+group=option` is `group=option`, `~group` is `group=[]` where any number can be chosen, and
    `group=null` is `~group` where none can be.

    With `is_sweep`, a comma may separate values. Raises ConfigError if it is unclear whether it
    does: nothing is quoted or escaped, and the files that exist do not tell.
    """
    if override.removeprefix("~") in multi_choice_groups():
        return f"{override.removeprefix('~')}=[]"
    match = re.fullmatch(r"(\+{0,2}[\w./@-]+)=(.*)", override, re.DOTALL)
    if match and ((group := match[1].lstrip("+")) in groups() or presets(group)):
        if match[2] == "null" and group in optional_groups():
            return f"~{group}"
        return f"{group}={match[2]}"  # every group is in the defaults, so that nothing is added
    if not match or match[2] == "null" or not _is_free_text(match[1].lstrip("+"), overrides):
        return override
    key, value = match.groups()
    if is_sweep and _SWEEP.fullmatch(value) and not _names_a_file(value):
        return override
    parts = _swept_values(key, value) if is_sweep else [_existing(value)]
    return f"{key}={','.join(part if part == 'null' else _literal(part) for part in parts)}"


def _is_free_text(key: str, overrides: Sequence[str]) -> bool:
    *above, name = key.split(".")
    types = [*_root_types(key.split("."))]
    if above and (group := "/".join(above[:-1])) in multi_choice_groups():
        types += _knob_types(group, [above[-1]], name)
    elif (group := "/".join(above)) in groups():
        types += [*_knob_types(group, _chosen(group, overrides), name)] or [
            *_knob_types(group, options(group), name)
        ]
    return bool(types) and TYPES.issuperset(types)


def _root_types(path: Sequence[str]) -> Iterator[str]:
    """The types of a field in the root configs of all verbs."""
    for root in ROOTS.values():
        kind: Any = root
        for name in path:
            hints = get_type_hints(kind, include_extras=True) if is_dataclass(kind) else {}
            kind = hints.get(name)
        if kind is not None:
            yield "str" if kind in (str, Path) else str(kind)


def _knob_types(group: str, names: Sequence[str], knob: str) -> Iterator[str]:
    """The types that a knob has in those plugins of a group that have it."""
    known = {*options(group), *presets(group)}
    plugins = {base_plugin(group, name) for name in names if name in known}
    for name in plugins:
        with suppress(ConfigError):  # a slip in its file is reported when it is composed
            yield from (one.type for one in describe(f"{group}/{name}").knobs if one.name == knob)


def _chosen(group: str, overrides: Sequence[str]) -> list[str]:
    """The options of a group that a command chooses itself, in a recipe, or by default."""
    values = dict(item.lstrip("+").split("=", 1) for item in overrides if "=" in item)
    if group in values:
        return values[group].split(",")
    recipes = [presets(kind).get(values.get(kind, "")) for kind in ("experiment", "debug")]
    for file in filter(None, (*recipes, configurations()[0] / "train.yaml")):
        slots = [item.items() for item in defaults(file) if isinstance(item, dict)]
        for slot, option in chain.from_iterable(slots):
            if slot.removeprefix("override ").strip("/ ") == group and isinstance(option, str):
                return [] if option.startswith(FOR) else [option]
    return []


def _swept_values(key: str, value: str) -> list[str]:
    """The values of free text in a sweep. Raises ConfigError if a comma is ambiguous."""
    written: list[str] = _PART.findall(value)
    parts = [_plain(part) for part in written]
    if len(parts) == 1 or parts != written:
        return parts
    is_one, are_several = _names_a_file(value), all(map(_names_a_file, {*parts} - {"null"}))
    if is_one == are_several:
        each = ",".join(f'"{part}"' for part in parts)
        raise ConfigError(
            f"{key}={value}: with -m, this is one value with a comma, or {len(parts)} values.\n"
            f"""  For one value, write '{key}="{value}"'; for several, '{key}={each}'."""
        )
    return [value] if is_one else parts


def _plain(part: str) -> str:
    """A value without its quotes, or without the backslashes before its commas."""
    is_quoted = len(part) > 1 and part[0] == part[-1] and part[0] in "'\""
    return part[1:-1] if is_quoted else part.replace(r"\,", ",")


def _existing(value: str) -> str:
    """A value as it is, unless a file has this name only without quotes or backslashes."""
    plain = _plain(value)
    return plain if not _names_a_file(value) and _names_a_file(plain) else value


def _names_a_file(value: str) -> bool:
    place = os.path.expanduser(value)
    return "\0" not in place and (os.path.exists(place) or any(glob.iglob(place)))


def _literal(text: str) -> str:
    """`text` as a quoted string; escapes quotes, interpolations and the backslashes before them."""
    text = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", text)
    return (
        "'"
        + re.sub(r"(\\*)('|\Z)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), text)
        + "'"
    )
