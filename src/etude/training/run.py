"""Trains in a run folder: starts a run, or resumes one. Does not depend on Hydra.

An invalid config leaves no folder: the data is prepared and everything is built before the folder
is created.
"""

import itertools
import logging
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from etude.config import config_file
from etude.config.registry import plugin_of
from etude.config.schema.experiment import ExperimentConfig
from etude.data.corpus import Corpus, prepare
from etude.errors import (
    ConfigError,
    EtudeError,
    InterruptedRunError,
    NonFiniteError,
    PreemptedError,
)
from etude.files.disk import disk_full_error
from etude.files.run_folder import CHECKPOINTS, CONFIG, LOCK, SUMMARY, TOKENIZER, run_lock
from etude.files.secret import redacted
from etude.formats.checkpoint import newest_intact, step_of
from etude.formats.model import read_model
from etude.network.adapter import parameter_counts
from etude.objective.randomness import seed_global
from etude.objective.ranks import Ranks
from etude.training import hardware
from etude.training.assemble import TrainingParts, assemble, refuse_unbuildable
from etude.training.disk_space import refuse_full_disk
from etude.training.fit import fit
from etude.training.inputs import (
    changed_inputs,
    parents,
    record_changes,
    refuse_changes,
    save_inputs,
    stored_tokenizer,
)
from etude.training.launch import launch
from etude.training.length import refuse_passed
from etude.training.resume import length_changes, resumption

ACTIVITY = "written by another process"


def start(config: ExperimentConfig, experiment: str, overrides: list[str]) -> Path:
    """Trains the run that `config` describes; returns the run folder.

    If `config.run` already contains a run, resumes it, or returns immediately if it is finished.
    """
    quiet()
    with _exit_on_sigterm():
        hardware.refuse_missing(config.trainer.accelerator)
        folder = _folder(config, experiment)
        if config.run is not None and (folder / CONFIG).exists():
            with run_lock(folder, ACTIVITY):
                _resume(config, overrides, folder)
                return folder
        _refuse_unwritable(folder)
        refuse_unbuildable(config.architecture, config.adapter)
        parents(config)  # raises ConfigError for one that does not exist
        config = replace(config, trainer=replace(config.trainer, accept_changes=[]))
        corpus = corpus_of(config)
        print(corpus.card)
        assembled = assemble(config, corpus, Ranks(0, config.trainer.devices))
        assembled.validation.refuse_unknown(config, assembled.objective)
        refuse_full_disk(config, assembled, folder)
        folder = _create_folder(folder, is_named=config.run is not None)
        with run_lock(folder, ACTIVITY):
            corpus.tokenizer.save(folder / TOKENIZER)
            save_inputs(config, corpus, folder)
            _train(config, corpus, assembled, folder)
        return folder


def main() -> None:
    """Trains one rank of the run in the folder argument; entry point of `launch` and torchrun."""
    quiet()
    folder = Path(sys.argv[1])
    config = config_file.load_config(folder)
    ranks = Ranks.of_this_process(config.trainer.devices)
    try:
        with _exit_on_sigterm(), disk_full_error():
            refuse_changes(changed_inputs(config, folder), (), folder)
            hardware.load_or_benchmark(folder).apply()
            corpus = corpus_of(config, folder)
            fit(config, corpus, assemble(config, corpus, ranks), folder)
    except EtudeError as error:
        if ranks.rank == 0:
            print(redacted(str(error)), file=sys.stderr)
        is_coordinated = isinstance(error, PreemptedError | InterruptedRunError | NonFiniteError)
        # Lightning kills rank 0 when another rank fails; if all stop together, it must not.
        sys.exit(0 if is_coordinated and ranks.rank > 0 else error.exit_code)


def _resume(config: ExperimentConfig, overrides: list[str], folder: Path) -> None:
    """Resumes a run with its stored config, in which only the run length may change.

    Until everything is checked, no file of the run is changed.
    """
    found = resumption(config, overrides, folder)
    config = found.config
    if found.is_finished:
        print(f"{folder} is finished; nothing to do.")
        return
    hardware.load_or_benchmark(folder).apply()
    corpus = corpus_of(config, folder)
    print(corpus.card)
    assembled = assemble(config, corpus, Ranks(0, config.trainer.devices))
    step = _reached(folder)
    refuse_passed(config.trainer, assembled.plan.steps, step, folder)
    refuse_full_disk(config, assembled, folder)
    changes = [*found.changes, *length_changes(found, assembled.plan.epoch, step)]
    if changes:
        record_changes(changes, step, folder)
        save_inputs(config, corpus, folder)
    (folder / SUMMARY).unlink(missing_ok=True)
    _train(config, corpus, assembled, folder)


def _reached(folder: Path) -> int:
    """Returns the step of the checkpoint that a run would resume from; 0 if there is none."""
    with warnings.catch_warnings():  # `fit` warns about damaged checkpoints
        warnings.simplefilter("ignore", UserWarning)
        newest = newest_intact(folder / CHECKPOINTS)
    return 0 if newest is None else step_of(newest)


def _train(
    config: ExperimentConfig, corpus: Corpus, assembled: TrainingParts, folder: Path
) -> None:
    """Trains in this process, or in separate ones under a multi-device strategy.

    Such a strategy leaves state in its process (ports, process groups), even on one device.
    """
    if config.adapter:
        n_all, n_trainable = parameter_counts(assembled.objective.network).values()
        print(f"trains {n_trainable:,} of {n_all:,} parameters ({n_trainable / n_all:.2%})")
    hardware.load_or_benchmark(folder)
    if plugin_of(config.strategy).declaration.max_devices == 1:
        fit(config, corpus, assembled, folder)
    else:
        launch(folder)


def corpus_of(config: ExperimentConfig, folder: Path | None = None) -> Corpus:
    """Prepares the training data of a new run, or of the run in `folder`, with its tokenizer.

    A new run has the tokenizer of its parent if it has one.
    """
    seed_global(config.seed)  # for readers that draw from the global generators
    if folder is not None:
        return prepare(config, stored_tokenizer(folder))
    parent = None if config.init_from is None else read_model(config.init_from)
    return prepare(config, parent and parent.tokenizer)


def _folder(config: ExperimentConfig, experiment: str) -> Path:
    if config.run is not None:
        return Path(config.run).absolute()
    return Path("outputs", experiment, time.strftime("%Y-%m-%d_%H-%M-%S")).absolute()


def _create_folder(folder: Path, *, is_named: bool) -> Path:
    """Creates the run folder; an automatic name gets a number if it is taken."""
    place = folder
    for number in itertools.count(2):
        try:
            place.mkdir(parents=True, exist_ok=is_named)
            return place
        except FileExistsError:
            if is_named:
                raise
            place = folder.with_name(f"{folder.name}_{number}")
    raise AssertionError("there is always another number")


def _refuse_unwritable(folder: Path) -> None:
    parent = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with disk_full_error(folder), tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be created: {parent} is not writable ({error.strerror}).\n"
            "  Choose another folder with run=<folder>."
        ) from error
    if parent == folder and any(folder.iterdir()) and not (folder / LOCK).exists():
        raise ConfigError(
            f"{folder} is not empty and contains no run.\n  Choose a new folder with run=<folder>."
        )


@contextmanager
def _exit_on_sigterm() -> Generator[None]:
    """Makes SIGTERM end the command with its own exit code: outside training nothing is saved."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise PreemptedError("Stopped by a signal before the first step; nothing was saved.")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def quiet() -> None:
    """Silences Lightning's hints, which are for authors of training loops."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\.")


if __name__ == "__main__":
    main()
