"""Going on with a run, or from one: its stored config holds, and the command line must agree."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from etude.config.config_file import nodes
from etude.config.registry import plugin_of
from etude.config.schema.experiment import ExperimentConfig
from etude.errors import CheckpointError, ConfigError

LENGTHS = ("max_steps", "max_epochs", "max_tokens")


def merged(
    stored: ExperimentConfig, given: ExperimentConfig, overrides: Sequence[str]
) -> ExperimentConfig:
    """Returns the stored config with the lengths that `overrides` name.

    Raises ConfigError, naming the keys, when an override asks for anything else that the run
    was not started with.
    """
    before = flat(stored)
    asked = flat(given)
    keys = _keys(overrides)
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


def inherited(config: ExperimentConfig, overrides: Sequence[str]) -> ExperimentConfig:
    """A run that starts from another has that one's network and tokenizer.

    Raises ConfigError, naming the keys, when an override asks for others.
    """
    if config.init_from is None:
        return config
    from etude.formats.model import read_model  # torch: only where there is a model to read

    try:
        parent = read_model(config.init_from)
    except (CheckpointError, ConfigError) as error:
        raise ConfigError(
            f"init_from={config.init_from} cannot be started from: {error}"
        ) from error
    started = replace(config, architecture=parent.architecture, tokenizer=parent.tokenizer_config)
    if parent.carries:  # they cannot become weights, so they go on learning
        started = replace(started, adapter=dict(parent.adapter))
    has = flat(started)
    asked = flat(config)
    keys = _keys(overrides)
    lost = sorted(
        f"{key}={value} (it has {has.get(key)})"
        for key, value in asked.items()
        if has.get(key) != value and _is_about(key, keys)
    )
    if lost:
        raise ConfigError(
            f"init_from={config.init_from} brings its own network and tokenizer; "
            "these would have no effect:\n  " + "\n  ".join(lost[:8])
        )
    return started


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
    return "experiment" in overridden or _is_about(key, overridden)


def _is_about(key: str, overridden: Sequence[str]) -> bool:
    return any(key == override or key.startswith(f"{override}.") for override in overridden)


def _keys(overrides: Sequence[str]) -> list[str]:
    return [override.partition("=")[0].lstrip("+~").replace("/", ".") for override in overrides]
