"""Every config class, and configs in which a knob with a condition has effect or has none."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any, get_args, get_type_hints

import yaml
from defaults import default

from etude.config.hydra_source import ROOTS
from etude.config.plugin_files import groups, options
from etude.config.registry import load
from etude.config.schema.effect import ONLY_WITH, terms, unmet
from etude.config.schema.plugins import PluginConfig

SET: dict[str, Any] = {
    "replay": "a", "window": 3, "keep_best": "val/loss", "epsilon_high": 0.3,
}  # fmt: skip
"""A value of each knob that is null by default and that a condition names."""


def config_classes() -> list[type]:
    """The config of every plugin, and those of every verb with what they are made of."""
    plugins = [load(f"{group}/{name}").config for group in groups() for name in options(group)]
    found: dict[type, None] = {}
    for kind in (*plugins, *ROOTS.values()):
        found |= dict.fromkeys(_with_parts(kind))
    return list(found)


def _with_parts(kind: type) -> Iterator[type]:
    """A config class and those that its fields are annotated with."""
    yield kind
    for hint in get_type_hints(kind).values():
        for part in (hint, *get_args(hint)):
            if isinstance(part, type) and is_dataclass(part):
                yield from _with_parts(part)


def instance(kind: type, **values: Any) -> Any:
    """A config with its defaults."""
    if issubclass(kind, PluginConfig):
        return default(kind.__dict__["__plugin__"].address, **values)
    return kind(**values)


def conditional(kind: type) -> dict[str, str]:
    """The knobs of a class that declare a condition, with it."""
    return {
        item.name: item.metadata[ONLY_WITH] for item in fields(kind) if ONLY_WITH in item.metadata
    }


def with_effect(config: Any, name: str) -> Any:
    """A config in which a knob has effect, as little changed as that takes."""
    if unmet(config, name) is None:
        return config
    term = terms(conditional(type(config))[name])[0]
    needed = with_effect(config, term.name)
    return needed if term.holds(needed) else replace(needed, **_fulfilling(needed, term))


def without_effect(config: Any, name: str) -> list[Any]:
    """Configs in which a knob has none: one where its own condition fails, one a condition behind.

    The knob keeps its default.
    """
    alternatives = terms(conditional(type(config))[name])
    failing = {key: value for term in alternatives for key, value in _failing(config, term).items()}
    behind = [
        one
        for term in alternatives
        if term.name in conditional(type(config))
        for one in without_effect(config, term.name)
    ]
    return [replace(config, **failing), *behind]


def _fulfilling(config: Any, term: Any) -> dict[str, Any]:
    before = vars(config)[term.name]
    match term.sign:
        case "":
            return {term.name: True if isinstance(before, bool) else SET[term.name]}
        case ">":
            return {term.name: type(before)(float(term.value) + 0.5) or 1}
        case "=":
            return {term.name: _meant(before, term.value.split("|")[0])}
        case _:
            return {term.name: _another(before, term.value)}


def _failing(config: Any, term: Any) -> dict[str, Any]:
    before = vars(config)[term.name]
    match term.sign:
        case "":
            return {term.name: False if isinstance(before, bool) else None}
        case ">":
            return {term.name: type(before)(float(term.value))}
        case "=":
            if term.value == "null":
                return {term.name: SET[term.name]}
            return {term.name: _another(before, term.value)}
        case _:
            return {term.name: _meant(before, term.value)}


def _meant(before: Any, text: str) -> Any:
    """The value that a condition spells, of the type that the knob has."""
    return type(before)[text] if isinstance(before, Enum) else yaml.safe_load(text)


def _another(before: Any, text: str) -> Any:
    """A value of the type of the knob that a condition does not spell."""
    if isinstance(before, bool):
        return text != "true"
    members = type(before).__members__.items()
    return next(member for name, member in members if name not in text.split("|"))
