"""Resuming a run: what has changed since it was started, and what that changes in it."""

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from etude.config.config_file import load_config
from etude.config.registry import plugin_of
from etude.config.schema.experiment import ExperimentConfig
from etude.errors import CheckpointError
from etude.files.json_file import reading
from etude.files.run_folder import CHANGES, CHECKPOINTS, DERIVED, STEPS, SUMMARY, read_summary
from etude.files.seal import LOG, newest_checkpoint, sealed_fault, sealed_files
from etude.formats.checkpoint import checkpoints, newest_intact, step_of
from etude.objective.step_size import StepSizes
from etude.training.continuation import CHANGEABLE, resumed_config
from etude.training.inputs import Change, changed_inputs, refuse_changes
from etude.training.length import Epoch, measured_epoch, rate_jump, refuse_passed


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
