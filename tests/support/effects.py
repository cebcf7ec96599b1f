"""Every config class, and configs in which a conditional knob has an effect or has none."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any, get_args, get_type_hints

import yaml
from defaults import default

from etude.config.plugin_files import groups, options
from etude.config.registry import load
from etude.config.root_schemas import ROOTS
from etude.config.schema.effect import ONLY_WITH, terms, unmet_condition
from etude.config.schema.plugins import PluginConfig
from etude.data.rows import RowsConfig


def _phase() -> Any:  # the class is the plugin's own
    mixture = load("data/mixture").config
    return get_args(get_type_hints(mixture)["phases"])[0]()


NON_NULL: dict[str, Any] = {
    "replay": "a", "window": 3, "keep_best": "val/loss", "epsilon_high": 0.3,
    "weights": {"a": 1.0}, "phases": [_phase()],
}  # fmt: skip
"""A value for each knob that is null or empty by default and appears in a condition."""


def config_classes() -> list[type]:
    """The config class of every plugin and every verb, and of their parts."""
    plugins = [load(f"{group}/{name}").config for group in groups() for name in options(group)]
    found: dict[type, None] = {}
    for kind in (*plugins, *ROOTS.values()):
        found |= dict.fromkeys(_with_parts(kind))
    return list(found)


def _with_parts(kind: type) -> Iterator[type]:
    """A config class and the config classes of its fields, recursively."""
    yield kind
    for hint in get_type_hints(kind).values():
        for part in (hint, *get_args(hint)):
            if isinstance(part, type) and is_dataclass(part):
                yield from _with_parts(part)


def instance(kind: type, **values: Any) -> Any:
    """A config with its defaults; rows are raw text, on which all knobs have an effect."""
    if issubclass(kind, RowsConfig):
        values = {"record": default("data/record/text")} | values
    if issubclass(kind, PluginConfig):
        return default(kind.__dict__["__plugin__"].address, **values)
    return kind(**values)


def conditional(kind: type) -> dict[str, str]:
    """The condition of each knob of a class that declares one."""
    return {
        item.name: item.metadata[ONLY_WITH] for item in fields(kind) if ONLY_WITH in item.metadata
    }


def with_effect(config: Any, name: str) -> Any:
    """The config with the fewest changes that make a knob effective."""
    if unmet_condition(config, name) is None:
        return config
    term = terms(conditional(type(config))[name])[0]
    needed = with_effect(config, term.name)
    return needed if term.holds(needed) else replace(needed, **_fulfilling(needed, term))


def without_effect(config: Any, name: str) -> list[Any]:
    """Configs in which a knob has no effect; the knob keeps its default.

    In one the knob's own condition fails; in the others, a condition of a knob that it depends on.
    """
    alternatives = terms(conditional(type(config))[name])
    failing = {key: value for term in alternatives for key, value in _failing(config, term).items()}
    indirect = [
        one
        for term in alternatives
        if term.name in conditional(type(config))
        for one in without_effect(config, term.name)
    ]
    for key in failing.keys() & conditional(type(config)).keys():
        config = with_effect(config, key)  # so that the failing value is allowed itself
    return [replace(config, **failing), *indirect]


def _fulfilling(config: Any, term: Any) -> dict[str, Any]:
    before = vars(config)[term.name]
    match term.sign:
        case "":
            return {term.name: True if isinstance(before, bool) else NON_NULL[term.name]}
        case ">":
            step = 1 if isinstance(before, int) else 0.5
            return {term.name: type(before)(float(term.value) + step)}
        case "=":
            return {term.name: _parse(before, term.value.split("|")[0])}
        case _:
            if term.value == "[]":
                return {term.name: NON_NULL[term.name]}
            return {term.name: _other_value(before, term.value)}


def _failing(config: Any, term: Any) -> dict[str, Any]:
    before = vars(config)[term.name]
    match term.sign:
        case "":
            return {term.name: False if isinstance(before, bool) else None}
        case ">":
            return {term.name: type(before)(float(term.value))}
        case "=":
            if term.value in ("null", "{}"):
                return {term.name: NON_NULL[term.name]}
            return {term.name: _other_value(before, term.value)}
        case _:
            return {term.name: _parse(before, term.value)}


def _parse(before: Any, text: str) -> Any:
    """The value in a condition, converted to the knob's type."""
    return type(before)[text] if isinstance(before, Enum) else yaml.safe_load(text)


def _other_value(before: Any, text: str) -> Any:
    """A value of the knob's type that does not fulfil the condition."""
    if isinstance(before, bool):
        return text != "true"
    members = type(before).__members__.items()
    return next(member for name, member in members if name not in text.split("|"))
