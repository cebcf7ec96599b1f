"""Trains in a run folder: starts a run, or goes on with one. Knows nothing of Hydra.

A refusal leaves nothing behind: the data is prepared and everything is built before the folder
is made.
"""

import fcntl
import itertools
import json
import logging
import platform
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType

import lightning
import torch

from etude import config_file, hardware
from etude.assemble import Assembled, assemble, refuse_unbuildable, trainer_of
from etude.checkpoint import newest_intact
from etude.corpus import Corpus, prepare
from etude.errors import ConfigError, PreemptedError
from etude.experiment import ExperimentConfig
from etude.progress import ProgressBar
from etude.resume import merged
from etude.run_reader import CHECKPOINTS, TOKENIZER, read_model, write_model
from etude.run_writer import Rhythm, RunWriter
from etude.whole_file import write_whole
from etude.window import Ranks

SUMMARY, LOCK = "summary.json", ".lock"
N_SHOWN = 3


def start(
    config: ExperimentConfig, experiment: str, overrides: list[str], sweep: Path | None
) -> tuple[Path, float | None]:
    """Trains what `config` describes; returns the run folder and its last val/loss.

    Where `config.run` holds a run, goes on with it, or returns at once if it is finished.
    """
    _quiet()
    with _stopping_at_once():
        hardware.refuse_missing(config.trainer.accelerator)
        folder = _folder(config, experiment)
        if config.run is not None and (folder / config_file.FILE).exists():
            with _locked(folder):
                return folder, _go_on(config, overrides, folder)
        _refuse_unwritable(folder)
        refuse_unbuildable(config.architecture)
        corpus = _corpus(config)
        assembled = assemble(config, corpus, Ranks())
        folder = _made(folder, named=config.run is not None)
        with _locked(folder):
            corpus.tokenizer.save(folder / TOKENIZER)
            corpus.card.save(folder)
            config_file.save(config, folder)
            return folder, _fit(config, corpus, assembled, folder)


def _go_on(config: ExperimentConfig, overrides: list[str], folder: Path) -> float | None:
    """Resumes a run with its own config, in which only its length may have changed."""
    stored = config_file.load(folder)
    config = merged(stored, config, overrides)
    summary = folder / SUMMARY
    if summary.exists() and config == stored:
        print(f"{folder} is finished; nothing to do.")
        return json.loads(summary.read_text(encoding="utf-8"))["metrics"].get("val/loss")
    hardware.choose(folder).apply()
    corpus = _corpus(config)
    assembled = assemble(config, corpus, Ranks())
    config_file.save(config, folder)
    summary.unlink(missing_ok=True)
    return _fit(config, corpus, assembled, folder)


def _fit(
    config: ExperimentConfig, corpus: Corpus, assembled: Assembled, folder: Path
) -> float | None:
    machine = hardware.choose(folder)
    machine.apply()
    plan, given = assembled.plan, config.trainer
    checkpoint = newest_intact(folder / CHECKPOINTS)
    if checkpoint is not None:
        print(f"resuming from {checkpoint.name}", file=sys.stderr)
    rhythm = Rhythm(plan.steps, plan.validate, plan.save, given.keep, given.log_every)
    began = time.perf_counter()
    with ProgressBar(plan.steps, given.log_every) as bar:
        writer = RunWriter(folder, rhythm, assembled.validation, config.seed, bar.update)
        trainer = trainer_of(config, plan, folder, [writer])
        trainer.fit(assembled.objective, assembled.loader, ckpt_path=checkpoint)
    weights = assembled.objective.network.state_dict()
    write_model(weights, config.architecture, corpus.tokenizer, folder)
    measured = {k: v for k, v in writer.last.items() if k.startswith("val/")}
    _show(corpus, assembled, folder, measured)
    summary = {
        "metrics": writer.last,
        "parameters": sum(p.numel() for p in assembled.objective.network.parameters()),
        "seconds": round(time.perf_counter() - began, 1),
        "data": corpus.card.digest,
        "init_from": config.init_from,
        "hardware": asdict(machine),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lightning": lightning.__version__,
        },
    }
    text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
    write_whole(folder / SUMMARY, text)
    return writer.last.get("val/loss")


def _show(
    corpus: Corpus, assembled: Assembled, folder: Path, measured: Mapping[str, float]
) -> None:
    """Prints the result beside its yardstick, and a few outputs of the network."""
    objective = assembled.objective
    n = min(N_SHOWN, len(corpus.val))
    objective.eval()
    with torch.no_grad(), objective.trainer.precision_plugin.forward_context():
        shown = objective.show([corpus.val[i] for i in range(n)])
    (folder / "samples.txt").write_text("\n\n".join(shown) + "\n", encoding="utf-8")
    for text in shown:
        print(f"---\n{text}")
    print("---")
    for name, value in measured.items():
        print(f"{name} {value:.4f}")
    if corpus.card.xz_bits_per_byte is not None and "val/bits_per_byte" in measured:
        print(f"xz -9e on the same text: {corpus.card.xz_bits_per_byte:.4f} bits a byte")


def _corpus(config: ExperimentConfig) -> Corpus:
    tokenizer = None if config.init_from is None else read_model(config.init_from).tokenizer
    corpus = prepare(config, tokenizer)
    print(corpus.card)
    return corpus


def _folder(config: ExperimentConfig, experiment: str) -> Path:
    if config.run is not None:
        return Path(config.run).absolute()
    return Path("outputs", experiment, time.strftime("%Y-%m-%d_%H-%M-%S")).absolute()


def _made(folder: Path, *, named: bool) -> Path:
    """Makes the run folder; one that the user did not name gets a number if the name is taken."""
    place = folder
    for number in itertools.count(2):
        try:
            place.mkdir(parents=True, exist_ok=named)
            return place
        except FileExistsError:
            if named:
                raise
            place = folder.with_name(f"{folder.name}_{number}")
    raise AssertionError("there is always another number")


def _refuse_unwritable(folder: Path) -> None:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {there} is not a folder this user may write to "
            f"({error.strerror}).\n  run=<folder> names another place."
        ) from error
    if there == folder and any(folder.iterdir()) and not (folder / LOCK).exists():
        raise ConfigError(
            f"{folder} is not empty and holds no run.\n  run=<folder> names a new or an empty one."
        )


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    """Keeps a second writer out of a run folder."""
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"{folder} is being written by another process.\n"
                "  Wait for it to end, or choose another folder with run=<folder>."
            ) from error
        yield


@contextmanager
def _stopping_at_once() -> Generator[None]:
    """Outside training there is nothing to save: SIGTERM ends the command with its own code."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise PreemptedError("Stopped by a signal before the first step; start it again.")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _quiet() -> None:
    """Lightning's advice is for those who write loops; ours is in the errors."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\.")
