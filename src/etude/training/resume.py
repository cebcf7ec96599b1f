"""Resuming a run, or starting from one: the stored config wins, overrides must agree with it."""

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from etude.config.config_file import load_config, nodes
from etude.config.registry import plugin_of
from etude.config.schema.experiment import ExperimentConfig
from etude.errors import CheckpointError, ConfigError
from etude.files.json_file import reading
from etude.files.run_folder import CHANGES, CHECKPOINTS, DERIVED, STEPS, SUMMARY, read_summary
from etude.files.seal import LOG, newest_checkpoint, sealed_fault, sealed_files
from etude.formats.checkpoint import checkpoints, newest_intact, step_of
from etude.formats.model import read_model
from etude.objective.step_size import StepSizes
from etude.training.inputs import Change, changed_inputs, refuse_changes
from etude.training.length import LENGTHS, Epoch, measured_epoch, rate_jump, refuse_passed

CHANGEABLE = (*LENGTHS, "non_finite", "rank_timeout_s")
"""The keys of `trainer` with which a run may resume, and which it then records."""
MAY_DIFFER = {"run", "trainer.accept_changes", *(f"trainer.{name}" for name in CHANGEABLE)}


@dataclass(frozen=True)
class Resumption:
    """A run in a folder, and how it would resume."""

    stored: ExperimentConfig
    config: ExperimentConfig
    """The stored config with the requested length and `trainer.non_finite`."""
    changes: list[Change]
    """Accepted changes of its inputs."""
    is_finished: bool
    """Whether it is finished and has the requested length."""


def resumption(config: ExperimentConfig, overrides: Sequence[str], folder: Path) -> Resumption:
    """Compares a command with the run in `folder`. Changes nothing.

    Raises ConfigError for another setting or for a length that a finished run has passed, and
    CheckpointError for a changed input that is not accepted.
    """
    with warnings.catch_warnings():  # changed plugins are refused, or accepted
        warnings.simplefilter("ignore", UserWarning)
        stored = load_config(folder)
    refuse_damage(folder)
    resumed = resumed_config(stored, config, overrides)
    changes = changed_inputs(stored, folder)
    refuse_changes(changes, config.trainer.accept_changes, folder)
    summary = read_summary(folder)
    if summary is not None and resumed != stored:
        with reading(folder / SUMMARY):
            steps = measured_epoch(summary, StepSizes.of(resumed)).n_steps(resumed.trainer)
            reached = int(summary["metrics"]["step"])
        refuse_passed(resumed.trainer, steps, reached, folder)
    is_finished = summary is not None and resumed == stored
    if not is_finished:
        refuse_lost_checkpoints(folder)
    return Resumption(stored, resumed, changes, is_finished)


def refuse_damage(folder: Path) -> None:
    """Raises CheckpointError if a file is not what the run wrote, unless it is written again."""
    for file in sealed_files(folder):
        is_log = file.suffix == LOG and file.name not in (STEPS, CHANGES)  # of a callback
        is_derived = file.name in DERIVED or (is_log and not file.exists())
        if not is_derived and (fault := sealed_fault(file)):
            raise CheckpointError(
                f"{folder} cannot resume: {file} {fault}.\n"
                "  Nothing was changed. Restore it, or start a new run in another folder.\n"
                f"  etude verify run={folder} checks every file."
            )


def refuse_lost_checkpoints(folder: Path) -> None:
    """Raises CheckpointError if a run has written checkpoints and none is left."""
    step = newest_checkpoint(folder)
    if step is not None and not checkpoints(folder / CHECKPOINTS):
        raise CheckpointError(
            f"{folder} cannot resume: it saved a checkpoint of step {step}, but "
            f"{folder / CHECKPOINTS} has none.\n"
            "  Nothing was changed. Restore one, or start a new run in another folder."
        )


def reached(folder: Path) -> int:
    """Returns the step of the checkpoint that a run would resume from; 0 if there is none."""
    with warnings.catch_warnings():  # `fit` warns about damaged checkpoints
        warnings.simplefilter("ignore", UserWarning)
        newest = newest_intact(folder / CHECKPOINTS)
    return 0 if newest is None else step_of(newest)


def how_to_resume(folder: Path) -> str:
    """Returns what is saved of a run that ended early, and how to go on."""
    step = reached(folder)
    saved = f"It was saved at step {step}" if step else "No step of it was saved"
    return f"{saved}. To resume it, run the same command with run={folder}."


def length_changes(one: Resumption, epoch: Epoch, step: int) -> list[Change]:
    """Returns the changed keys of `trainer`, and the learning rate at `step` if it jumps.

    A schedule that depends on the length of the run would have had another rate at this step: it
    prints a warning.
    """
    was = one.stored.trainer
    now = one.config.trainer
    changes = [
        Change(f"trainer.{name}", *(v.value if isinstance(v, Enum) else v for v in values))
        for name in CHANGEABLE
        if len(set(values := (vars(was)[name], vars(now)[name]))) > 1
    ]
    jump = rate_jump(one.stored, epoch.n_steps(was), epoch.n_steps(now), step)
    if changes and step and jump is not None:
        changes.append(Change("learning rate", *jump))
        print(
            f"Warning: the learning rate jumps from {jump[0]:.3g} to {jump[1]:.3g} after step "
            f"{step}: {plugin_of(one.config.schedule).address} depends on the length of the run.\n"
            "  To avoid it, start a new run with init_from=<this run>; or train with "
            "schedule=constant, or with schedule=wsd and extend the run before its decay.",
            file=sys.stderr,
        )
    return changes


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
