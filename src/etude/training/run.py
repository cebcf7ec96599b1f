"""Trains in a run folder: starts a run, or resumes one. Does not depend on Hydra.

An invalid config leaves no folder: the data is prepared and everything is built before the folder
is created.
"""

import itertools
import json
import logging
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from etude.config import config_file
from etude.config.registry import plugin_of
from etude.config.schema.experiment import ExperimentConfig
from etude.data.corpus import Corpus, prepare
from etude.data.tokenizer import Tokenizer
from etude.errors import (
    CheckpointError,
    ConfigError,
    EtudeError,
    InterruptedRunError,
    NonFiniteError,
    PreemptedError,
)
from etude.files.atomic import write_atomic
from etude.files.run_folder import CONFIG, LOCK, PARENTS, SUMMARY, TOKENIZER, run_lock
from etude.formats.model import Model, read_model
from etude.network.adapter import parameter_counts
from etude.objective.ranks import Ranks
from etude.training import hardware
from etude.training.assemble import TrainingParts, assemble, refuse_unbuildable
from etude.training.fit import fit
from etude.training.launch import launch
from etude.training.resume import resumed_config

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
        parents = _parent_digests(config)
        corpus = corpus_of(config)
        print(corpus.card)
        assembled = assemble(config, corpus, Ranks(0, config.trainer.devices))
        folder = _create_folder(folder, is_named=config.run is not None)
        with run_lock(folder, ACTIVITY):
            corpus.tokenizer.save(folder / TOKENIZER)
            corpus.card.save(folder)
            if parents:
                write_atomic(folder / PARENTS, json.dumps(parents, indent=2) + "\n")
            config_file.save_config(config, folder)
            _train(config, corpus, assembled, folder)
        return folder


def main() -> None:
    """Trains one rank of the run in the folder argument; entry point of `launch` and torchrun."""
    quiet()
    folder = Path(sys.argv[1])
    config = config_file.load_config(folder)
    ranks = Ranks.of_this_process(config.trainer.devices)
    try:
        with _exit_on_sigterm():
            hardware.load_or_benchmark(folder).apply()
            corpus = corpus_of(config)
            fit(config, corpus, assemble(config, corpus, ranks), folder)
    except EtudeError as error:
        if ranks.rank == 0:
            print(error, file=sys.stderr)
        is_coordinated = isinstance(error, PreemptedError | InterruptedRunError | NonFiniteError)
        # Lightning kills rank 0 when another rank fails; if all stop together, it must not.
        sys.exit(0 if is_coordinated and ranks.rank > 0 else error.exit_code)


def _resume(config: ExperimentConfig, overrides: list[str], folder: Path) -> None:
    """Resumes a run with its stored config, in which only the run length may change."""
    stored = config_file.load_config(folder)
    config = resumed_config(stored, config, overrides)
    summary = folder / SUMMARY
    if summary.exists() and config == stored:
        print(f"{folder} is finished; nothing to do.")
        return
    _refuse_changed_parents(config, folder)
    hardware.load_or_benchmark(folder).apply()
    corpus = corpus_of(config)
    print(corpus.card)
    assembled = assemble(config, corpus, Ranks(0, config.trainer.devices))
    config_file.save_config(config, folder)
    summary.unlink(missing_ok=True)
    _train(config, corpus, assembled, folder)


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


def corpus_of(config: ExperimentConfig) -> Corpus:
    """Prepares the training data of a run, with its parent's tokenizer if it has a parent."""
    return prepare(config, _parents_tokenizer(config))


def _parents(config: ExperimentConfig) -> dict[str, Model]:
    """Returns the runs this one depends on, by the config keys that name them."""
    named = {"init_from": config.init_from, "objective.run": config.objective.teacher}
    named |= {f"reward.{name}.run": reward.teacher for name, reward in config.reward.items()}
    named |= {f"callback.{name}.run": one.teacher for name, one in config.callback.items()}
    return {key: read_model(run) for key, run in named.items() if run is not None}


def _parent_digests(config: ExperimentConfig) -> dict[str, str]:
    """Returns the digests of the parents' weights, from which frozen networks are rebuilt.

    Raises ConfigError for a parent run that does not exist.
    """
    return {key: model.digest for key, model in _parents(config).items()}


def _refuse_changed_parents(config: ExperimentConfig, folder: Path) -> None:
    for key, model in _parents(config).items():
        was = json.loads((folder / PARENTS).read_text(encoding="utf-8"))[key]
        if model.digest != was:
            raise CheckpointError(
                f"{key}={model.folder}: its weights have changed since {folder} was started.\n"
                "  Restore them, or start a new run; resuming would use a different network."
            )


def _parents_tokenizer(config: ExperimentConfig) -> Tokenizer | None:
    return None if config.init_from is None else read_model(config.init_from).tokenizer


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
        with tempfile.TemporaryFile(dir=parent):
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
