"""Trains an assembled run in one process, and writes the model and summary at the end."""

import json
import platform
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.backends import cpu

from etude.config.schema.experiment import ExperimentConfig
from etude.data.corpus import Corpus
from etude.files.cache import code_digest
from etude.files.json_file import MALFORMED, reading
from etude.files.run_folder import (
    ADAPTER,
    CHECKPOINTS,
    CONFIG,
    MODEL,
    SAMPLE_TEXTS,
    STEPS,
    SUMMARY,
)
from etude.files.seal import seal_logs, write_sealed
from etude.formats.checkpoint import newest_intact
from etude.formats.model import Model, network_state
from etude.formats.model_folder import write_adapter, write_model
from etude.formats.score_head import LABELS
from etude.network.adapter import adapter_tensors, parameter_counts
from etude.objective.head_objective import HeadObjective
from etude.objective.objective import Objective
from etude.objective.selection import lost_lines
from etude.training import hardware
from etude.training.assemble import TrainingParts, trainer_of
from etude.training.best_model import BestModel, Write
from etude.training.continuation import flat
from etude.training.plan import Plan
from etude.training.progress import ProgressBar
from etude.training.run_writer import RunWriter
from etude.training.trackers import log_config

N_SAMPLES = 3


def fit(config: ExperimentConfig, corpus: Corpus, assembled: TrainingParts, folder: Path) -> None:
    """Trains to the last step, from the newest intact checkpoint if there is one."""
    hardware.load_or_benchmark(folder).apply()
    plan = assembled.plan
    objective = assembled.objective
    is_first_rank = plan.ranks.rank == 0
    checkpoint = newest_intact(folder / CHECKPOINTS)
    if is_first_rank:
        _announce(checkpoint, folder, [*lost_lines(objective.lost), *objective.notes])
    began = time.perf_counter()
    bar = ProgressBar(plan.steps, plan.intervals.log)
    with bar if is_first_rank else nullcontext():
        watch = bar.update if is_first_rank else _no_progress
        best = _best(config, folder, write := _write(config, corpus, objective))
        writer = RunWriter(folder, plan.intervals, assembled.validation, config.seed, watch, best)
        trainer = trainer_of(config, plan, folder, [writer])
        log_config(trainer, flat(config))
        with _restoring(checkpoint, writer):
            trainer.fit(objective, assembled.loader, ckpt_path=checkpoint)
    state = trainer.strategy.lightning_module_state_dict()
    texts = _sample_texts(corpus, assembled)
    if not is_first_rank:
        return
    seal_logs(folder, int(writer.last["step"]))
    write_sealed(folder / SAMPLE_TEXTS, "\n\n".join(texts) + "\n")
    metrics = {k: v for k, v in writer.last.items() if k.startswith("val/")}
    note = write(state, folder / (ADAPTER if config.adapter else MODEL), metrics)
    if note is not None:
        print(note)
        objective.notes.append(note)
    _print_result(texts, metrics, corpus.card.xz_bits_per_byte)
    summary = {
        **_outcome(writer, objective, plan),
        "seconds": round(time.perf_counter() - began, 1),
        "data": corpus.card.digest,
        "init_from": config.init_from,
        **_environment(folder),
    }
    write_sealed(folder / SUMMARY, json.dumps(summary, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def _restoring(checkpoint: Path | None, writer: RunWriter) -> Generator[None]:
    """Names the checkpoint in errors before training goes on: its state does not fit the run."""
    try:
        yield
    except MALFORMED:
        if checkpoint is None or writer.has_started:
            raise
        with reading(checkpoint):
            raise


def _announce(checkpoint: Path | None, folder: Path, notes: Sequence[str]) -> None:
    """Prints the checkpoint that training resumes from, and the objective's notes on its data."""
    if checkpoint is not None:
        print(f"resuming from {checkpoint.name}", file=sys.stderr)
    elif (folder / STEPS).exists():
        print("the run stopped before its first checkpoint: it starts again", file=sys.stderr)
    for note in notes:
        print(note)


def _environment(folder: Path) -> dict[str, Any]:
    """Returns the config digest, the machine and the library versions of a run."""
    return {
        "config": code_digest(folder / CONFIG),
        "hardware": asdict(hardware.load_or_benchmark(folder)),
        "versions": versions(),
    }


def _outcome(writer: RunWriter, objective: Objective[Any, Any], plan: Plan) -> dict[str, Any]:
    """Returns the results of a run for its summary; prints skipped steps and an early stop."""
    for why, n in objective.skipped.items():
        print(f"skipped   {n:,} of {writer.last['step']:,.0f} steps: {why}")
    stopped = writer.last["step"] < plan.steps
    if stopped:
        print(f"stopped at step {writer.last['step']:.0f} of {plan.steps}", file=sys.stderr)
    best = None if writer.best is None else {"metric": writer.best.metric, **writer.best.at}
    if best is not None and "step" not in best:
        note = f"trainer.keep_best: best/ was not written, as {best['metric']} was never finite"
        print(note)
        objective.notes.append(note)
    return {
        "metrics": writer.last,
        "steps_planned": plan.steps,
        "steps_per_epoch": plan.epoch.steps,
        "stopped_early": stopped,
        "skipped": objective.skipped,
        "best": best,
        **parameter_counts(objective.network),
        "lost": objective.lost,
        "notes": objective.notes,
    }


def _best(config: ExperimentConfig, folder: Path, write: Write) -> BestModel | None:
    """Returns the object that keeps the best weights; None if the config does not enable it."""
    metric = config.trainer.keep_best
    return None if metric is None else BestModel(folder, metric, config.trainer.best, write)


def _write(config: ExperimentConfig, corpus: Corpus, objective: Objective[Any, Any]) -> Write:
    """Returns a function that writes the model, or the adapter alone, from an objective's state.

    An adapter is written without its base, which its digest identifies.
    """
    parts = config.architecture, corpus.tokenizer, config.tokenizer, config.objective

    def write(state: Mapping[str, Tensor], place: Path, facts: Mapping[str, Any]) -> str | None:
        exported_modules = objective.exported_modules
        extra_tensors = {
            name: held for name, held in state.items() if name.partition(".")[0] in exported_modules
        }
        if isinstance(objective, HeadObjective) and objective.labels:
            facts = {**facts, LABELS: [*objective.labels]}
        weights = network_state(state)
        model = Model(place, *parts, config.adapter, config.init_from, config.data.seq_len)
        if not config.adapter:
            return write_model(model, weights, place, facts, extra_tensors)
        names = adapter_tensors(objective.network)
        return write_adapter(model, weights, names, place, facts, extra_tensors)

    return write


def _no_progress(line: Mapping[str, float]) -> None:
    """Replaces the progress bar on ranks other than 0."""


def _sample_texts(corpus: Corpus, assembled: TrainingParts) -> list[str]:
    """Returns a few outputs of the network. All ranks must call it, as it may be sharded."""
    objective = assembled.objective
    n = min(N_SAMPLES, len(corpus.val))
    objective.eval()
    with torch.no_grad(), objective.trainer.precision_plugin.forward_context():
        return objective.show([corpus.val[i] for i in range(n)])


def _print_result(texts: list[str], metrics: Mapping[str, float], xz: float | None) -> None:
    for text in texts:
        print(f"---\n{text}")
    print("---")
    for name, value in metrics.items():
        print(f"{name} {value:.4f}")
    if xz is not None and "val/bits_per_byte" in metrics:
        print(f"xz -9e on the same text: {xz:.4f} bits per byte")


def versions() -> dict[str, str]:
    """Returns the library versions and the processor; equal ones should reproduce a run exactly."""
    on_gpu = torch.cuda.is_available()
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "core": code_digest(*sorted(Path(__file__).parents[1].rglob("*.py"))),
        "processor": torch.cuda.get_device_name() if on_gpu else cpu.get_cpu_capability(),
    }
