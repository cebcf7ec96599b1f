"""What a run inherits: its stored config when it resumes, and the parts of its parent.

Overrides must agree with both.
"""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from etude.config.config_file import nodes
from etude.config.registry import plugin_of
from etude.config.schema.experiment import ExperimentConfig
from etude.errors import CheckpointError, ConfigError
from etude.training.length import LENGTHS

CHANGEABLE = (*LENGTHS, "non_finite", "rank_timeout_s")
"""The keys of `trainer` with which a run may resume, and which it then records."""
MAY_DIFFER = {"run", "trainer.accept_changes", *(f"trainer.{name}" for name in CHANGEABLE)}


def resumed_config(
    stored: ExperimentConfig, config: ExperimentConfig, overrides: Sequence[str]
) -> ExperimentConfig:
    """Returns the stored config with the run length and `trainer.non_finite` of `overrides`.

    Raises ConfigError with the keys if an override differs in anything else from the stored
    config.
    """
    before = flat(stored)
    requested = flat(config)
    keys = _keys(overrides)
    given = vars(config.trainer)
    changed = {name: given[name] for name in CHANGEABLE if f"trainer.{name}" in keys}
    different = sorted(
        key
        for key in before.keys() | requested.keys()
        if before.get(key) != requested.get(key) and _is_overridden(key, keys)
    )
    if different:
        lines = [f"{key}: {before.get(key)}, now {requested.get(key)}" for key in different[:8]]
        raise ConfigError(
            f"run={config.run} was started with different settings:\n  "
            + "\n  ".join(lines)
            + "\n  Only "
            + ", ".join(f"trainer.{name}" for name in CHANGEABLE)
            + " may change. Start a new run in another folder."
        )
    return replace(stored, trainer=replace(stored.trainer, **changed))


def inherit_from_parent(config: ExperimentConfig, overrides: Sequence[str]) -> ExperimentConfig:
    """Returns the config with the network and tokenizer of the run in `init_from`.

    Raises ConfigError with the keys if an override conflicts with them.
    """
    if config.init_from is None:
        return config
    from etude.formats.model import read_model  # imports torch: only if a network is read

    try:
        parent = read_model(config.init_from)
    except (CheckpointError, ConfigError) as error:
        raise type(error)(f"init_from={config.init_from} cannot be loaded: {error}") from error
    started = replace(config, architecture=parent.architecture, tokenizer=parent.tokenizer_config)
    if parent.keeps_adapters:  # they cannot be merged into the weights, so they train on
        started = replace(started, adapter=dict(parent.adapter))
    inherited = flat(started)
    requested = flat(config)
    keys = _keys(overrides)
    ignored = sorted(
        f"{key}={value} (the parent has {inherited.get(key)})"
        for key, value in requested.items()
        if inherited.get(key) != value and _is_set(key, keys)
    )
    if ignored:
        raise ConfigError(
            f"init_from={config.init_from} determines the network and tokenizer; "
            "these settings would have no effect:\n  " + "\n  ".join(ignored[:8])
        )
    return started


def flat(config: ExperimentConfig) -> dict[str, Any]:
    """Returns each value by its full key, and each plugin's address by the path of its node."""
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


def _is_overridden(key: str, overridden: Sequence[str]) -> bool:
    """Returns whether an override sets this key; a recipe may set any key."""
    if key in MAY_DIFFER:
        return False
    return "experiment" in overridden or _is_set(key, overridden)


def _is_set(key: str, overridden: Sequence[str]) -> bool:
    return any(key == override or key.startswith(f"{override}.") for override in overridden)


def _keys(overrides: Sequence[str]) -> list[str]:
    return [override.partition("=")[0].lstrip("+~").replace("/", ".") for override in overrides]
