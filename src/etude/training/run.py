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
import traceback
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from etude.config import config_file
from etude.config.plugin_traceback import plugin_page
from etude.config.registry import plugin_of
from etude.config.schema.experiment import ExperimentConfig
from etude.data.corpus import Corpus
from etude.errors import (
    PAGE,
    ConfigError,
    EtudeError,
    InterruptedRunError,
    NonFiniteError,
    PreemptedError,
    page,
)
from etude.files.disk import disk_full_error
from etude.files.run_folder import (
    CHECKPOINTS,
    CONFIG,
    LOCK,
    SUMMARY,
    TOKENIZER,
    refuse_links,
    run_lock,
)
from etude.files.seal import remove_sealed
from etude.files.secret import redacted
from etude.formats.checkpoint import write_sealed_folder
from etude.network.adapter import parameter_counts
from etude.objective.ranks import Ranks
from etude.processes import end_with_parent, ended_by_signals, hint_when_stopped
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
)
from etude.training.launch import is_launched, launch, say_end
from etude.training.length import refuse_passed
from etude.training.resume import length_changes, reached, refuse_damage, resumption
from etude.training.run_corpus import corpus_of

ACTIVITY = "written by another process"


def start(config: ExperimentConfig, experiment: str, overrides: list[str]) -> Path:
    """Trains the run that `config` describes; returns the run folder.

    If `config.run` already contains a run, resumes it, or returns immediately if it is finished.
    """
    quiet()
    hardware.refuse_missing(config.trainer.accelerator)
    folder = _folder(config, experiment)
    refuse_links(folder)
    if config.run is not None and any((folder / n).exists() for n in (CONFIG, CHECKPOINTS)):
        with run_lock(folder, ACTIVITY) as lock, hint_when_stopped(_resumes(folder)):
            _resume(config, overrides, folder, lock)
            return folder
    _refuse_unwritable(folder)
    config_file.import_plugins(config)  # before the data is prepared
    refuse_unbuildable(config.architecture, config.adapter)
    parents(config)  # raises ConfigError for one that does not exist
    config = replace(config, trainer=replace(config.trainer, accept_changes=[]))
    corpus = corpus_of(config)
    print(corpus.card)
    assembled = assemble(config, corpus, Ranks(0, config.trainer.devices))
    assembled.validation.refuse_unknown(config, assembled.objective)
    refuse_full_disk(config, assembled, folder)
    folder = _create_folder(folder, is_named=config.run is not None)
    with run_lock(folder, ACTIVITY) as lock, hint_when_stopped(_resumes(folder)):
        write_sealed_folder(folder / TOKENIZER, corpus.tokenizer.save)
        save_inputs(config, _with_plan(corpus, assembled), folder)
        _train(config, corpus, assembled, folder, lock)
    return folder


def main() -> None:
    """Trains one rank of the run in the folder argument; entry point of `launch` and torchrun."""
    end_with_parent(signal.SIGKILL)
    if is_launched():
        sys.excepthook = _say_error
    quiet()
    folder = Path(sys.argv[1])
    config = config_file.load_config(folder)
    ranks = Ranks.of_this_process(config.trainer.devices)
    try:
        with (
            ended_by_signals(say_end),
            hint_when_stopped(_resumes(folder)),
            _own_lock(folder, ranks),
            disk_full_error(),
        ):
            refuse_damage(folder)
            refuse_changes(changed_inputs(config, folder), (), folder)
            hardware.load_or_benchmark(folder).apply()
            corpus = corpus_of(config, folder)
            fit(config, corpus, assemble(config, corpus, ranks), folder)
    except EtudeError as error:
        # Rank 0 ends last when all stop together: `launch` ends the others with it.
        is_coordinated = isinstance(error, PreemptedError | InterruptedRunError | NonFiniteError)
        if is_coordinated and ranks.rank > 0:
            sys.exit(0)
        say_end(redacted(page(error)))
        sys.exit(error.exit_code)


def _say_error(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Reports an unexpected error on one screen: the plugin's, or the end of the traceback."""
    text = plugin_page(error) if isinstance(error, Exception) else None
    lines = (text or "".join(traceback.format_exception(kind, error, trace))).splitlines()
    rank = Ranks.of_this_process(1).rank
    say_end(redacted("\n".join([f"rank {rank} failed:", *lines[1 - PAGE :]])))


def _own_lock(folder: Path, ranks: Ranks) -> AbstractContextManager[object]:
    """Locks the folder of a run that torchrun started; ranks of `launch` hold its lock."""
    if is_launched() or ranks.rank > 0:
        return nullcontext()
    return run_lock(folder, ACTIVITY)


def _resume(config: ExperimentConfig, overrides: list[str], folder: Path, lock: int) -> None:
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
    step = reached(folder)
    refuse_passed(config.trainer, assembled.plan.steps, step, folder)
    refuse_full_disk(config, assembled, folder)
    changes = [*found.changes, *length_changes(found, assembled.plan.epoch, step)]
    remove_sealed(folder / SUMMARY)  # first: a run that is killed below is not finished
    if changes:
        record_changes(changes, step, folder)
        save_inputs(config, _with_plan(corpus, assembled), folder)
    _train(config, corpus, assembled, folder, lock)


def _train(
    config: ExperimentConfig, corpus: Corpus, assembled: TrainingParts, folder: Path, lock: int
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
        launch(folder, config.trainer.devices, lock)


def _with_plan(corpus: Corpus, assembled: TrainingParts) -> Corpus:
    """The corpus with what the run reads of each source in its data card."""
    return replace(corpus, card=replace(corpus.card, planned=assembled.planned))


def _resumes(folder: Path) -> str:
    return f"To go on, run the same command with run={folder}."


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


def quiet() -> None:
    """Silences Lightning's hints, which are for authors of training loops."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\.")


if __name__ == "__main__":
    main()
