"""Writes the command line of a job as a recipe, a file for `conf/experiment/`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from etude.config import plugin_files
from etude.config.yaml_file import read_yaml
from etude.experiments.search_space import parse_overrides

BASES = ("experiment", "debug", "sweep")
"""Groups of YAML that change the whole experiment, in the order in which they apply."""


def recipe(verb: str, overrides: Sequence[str], header: Sequence[str]) -> str:
    """Returns YAML that, as `experiment=...`, composes to the same config as the overrides."""
    items = {item.get_key_element().lstrip("+~"): item for item in parse_overrides(verb, overrides)}
    base_choices = {key: items.pop(key).value() for key in BASES if key in items}
    defaults, values = _space_defaults(str(base_choices.pop("sweep", "")))
    bases: list[Any] = [
        {f"/{key}@_global_": option} for key, option in base_choices.items() if option
    ]
    choices: list[Any] = []
    for key, item in items.items():
        if item.is_add() and "@" in key:
            bases.append({f"/{key}": item.value()})
        elif key in plugin_files.groups() or "/" in key:
            choices.append({f"override /{key}": item.value()})
        elif key != "run":
            _put(values, key, item.value())
    body = {"defaults": [*bases, *defaults, "_self_", *choices], **values}
    text = yaml.safe_dump(body, allow_unicode=True, sort_keys=False)
    return "# @package _global_\n" + "".join(f"# {line}\n" for line in header) + text


def _space_defaults(option: str) -> tuple[list[Any], dict[str, Any]]:
    """Returns the defaults and values that a search-space file sets for each of its jobs."""
    for folder in plugin_files.configurations():
        file = folder / "sweep" / f"{option}.yaml"
        if file.is_file():
            content: dict[str, Any] = read_yaml(file)
            defaults = [one for one in content.pop("defaults", []) if "hydra" not in str(one)]
            return defaults, {key: value for key, value in content.items() if key != "hydra"}
    return [], {}


def best_recipe(sweep: Path, job: int, value: str, overrides: Sequence[str], verb: str) -> str:
    """Returns the recipe of the best job of a sweep; its header shows how to run it."""
    header = [
        f"Purpose: the best job of {sweep.name}, number {job}.",
        f"Result: {value}.",
        f"mkdir -p conf/experiment; cp {sweep / 'best.yaml'} conf/experiment/NAME.yaml",
        f"etude {verb} experiment=NAME",
    ]
    return recipe(verb, overrides, header)


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets a dotted key of nested mappings."""
    *parents, name = key.split(".")
    for part in parents:
        values = values.setdefault(part, {})
    values[name] = value
