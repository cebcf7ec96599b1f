"""Going on with a run: its stored config holds, and what the command line says must agree."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from etude.config_file import nodes
from etude.errors import ConfigError
from etude.experiment import ExperimentConfig
from etude.registry import plugin_of

LENGTHS = ("max_steps", "max_epochs", "max_tokens")


def merged(
    stored: ExperimentConfig, given: ExperimentConfig, overrides: Sequence[str]
) -> ExperimentConfig:
    """Returns the stored config with the lengths that `overrides` name.

    Raises ConfigError, naming the keys, when an override asks for anything else that the run
    was not started with.
    """
    before, asked = flat(stored), flat(given)
    keys = [override.partition("=")[0].lstrip("+~").replace("/", ".") for override in overrides]
    lengths = {name: getattr(given.trainer, name) for name in LENGTHS if f"trainer.{name}" in keys}
    different = sorted(
        key
        for key in before.keys() | asked.keys()
        if before.get(key) != asked.get(key) and _is_meant(key, keys)
    )
    if different:
        lines = [f"{key}: {before.get(key)}, now {asked.get(key)}" for key in different[:8]]
        raise ConfigError(
            f"run={given.run} was started with other settings:\n  "
            + "\n  ".join(lines)
            + "\n  Start a new run with another folder; only "
            + ", ".join(f"trainer.{name}" for name in LENGTHS)
            + " may change."
        )
    return replace(stored, trainer=replace(stored.trainer, **lengths))


def flat(config: ExperimentConfig) -> dict[str, Any]:
    """Every value by its full key, and every plugin's address by its node's path."""
    found: dict[str, Any] = {path: plugin_of(node).address for path, node in nodes(config)}

    def walk(node: Any, path: str) -> None:
        if is_dataclass(node):
            for item in fields(node):
                walk(getattr(node, item.name), f"{path}.{item.name}" if path else item.name)
        elif isinstance(node, dict):
            for key, value in node.items():
                walk(value, f"{path}.{key}")
        else:
            found[path] = node

    walk(config, "")
    return found


def _is_meant(key: str, overridden: Sequence[str]) -> bool:
    """Whether an override is about this key; a recipe is about all of them."""
    if key == "run" or key in {f"trainer.{name}" for name in LENGTHS}:
        return False
    return any(key == o or key.startswith(f"{o}.") or o == "experiment" for o in overridden)
