"""Trains an assembled run in one process, and writes the model and summary at the end."""

import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.backends import cpu

from etude.config.schema.experiment import ExperimentConfig
from etude.data.corpus import Corpus
from etude.files.atomic import write_whole
from etude.files.cache import code_digest
from etude.files.run_folder import ADAPTER, CHECKPOINTS, CONFIG, MODEL, SUMMARY
from etude.formats.checkpoint import newest_intact
from etude.formats.model import Model, own
from etude.formats.model_folder import write_adapter, write_model
from etude.network.adapter import adapter_tensors, parameters
from etude.objective.objective import Objective
from etude.training import hardware
from etude.training.assemble import TrainingParts, trainer_of
from etude.training.best_model import BestModel, Write
from etude.training.progress import ProgressBar
from etude.training.resume import flat
from etude.training.run_writer import RunWriter
from etude.training.trackers import log_config

N_SHOWN = 3


def fit(config: ExperimentConfig, corpus: Corpus, assembled: TrainingParts, folder: Path) -> None:
    """Trains to the last step, from the newest intact checkpoint if there is one."""
    hardware.choose(folder).apply()
    plan = assembled.plan
    objective = assembled.objective
    leads = plan.ranks.rank == 0
    checkpoint = newest_intact(folder / CHECKPOINTS)
    if leads:
        _announce(checkpoint, objective.notes)
    began = time.perf_counter()
    bar = ProgressBar(plan.steps, plan.intervals.log)
    with bar if leads else nullcontext():
        watch = bar.update if leads else _unwatched
        best = _best(config, folder, write := _write(config, corpus, objective))
        writer = RunWriter(folder, plan.intervals, assembled.validation, config.seed, watch, best)
        trainer = trainer_of(config, plan, folder, [writer])
        log_config(trainer, flat(config))
        trainer.fit(objective, assembled.loader, ckpt_path=checkpoint)
    state = trainer.strategy.lightning_module_state_dict()
    shown = _shown(corpus, assembled)
    if not leads:
        return
    (folder / "samples.txt").write_text("\n\n".join(shown) + "\n", encoding="utf-8")
    measured = {k: v for k, v in writer.last.items() if k.startswith("val/")}
    write(state, folder / (ADAPTER if config.adapter else MODEL), measured)
    _print_result(shown, measured, corpus.card.xz_bits_per_byte)
    summary = {
        **_reached(writer, plan.steps),
        **parameters(objective.network),
        "seconds": round(time.perf_counter() - began, 1),
        "data": corpus.card.digest,
        "notes": objective.notes,
        "init_from": config.init_from,
        **_made_with(folder),
    }
    write_whole(folder / SUMMARY, json.dumps(summary, indent=2, ensure_ascii=False) + "\n")


def _announce(checkpoint: Path | None, notes: Sequence[str]) -> None:
    """Prints the checkpoint that training resumes from, and the objective's notes on its data."""
    if checkpoint is not None:
        print(f"resuming from {checkpoint.name}", file=sys.stderr)
    for note in notes:
        print(note)


def _made_with(folder: Path) -> dict[str, Any]:
    """Returns the config digest, the machine and the library versions of a run."""
    return {
        "config": code_digest(folder / CONFIG),
        "hardware": asdict(hardware.choose(folder)),
        "versions": versions(),
    }


def _reached(writer: RunWriter, planned: int) -> dict[str, Any]:
    """Returns where the run ended; prints a note if it stopped early."""
    stopped = writer.last["step"] < planned
    if stopped:
        print(f"stopped at step {writer.last['step']:.0f} of {planned}", file=sys.stderr)
    best = None if writer.best is None else {"metric": writer.best.metric, **writer.best.at}
    return {
        "metrics": writer.last,
        "steps_planned": planned,
        "stopped_early": stopped,
        "best": best,
    }


def _best(config: ExperimentConfig, folder: Path, write: Write) -> BestModel | None:
    """Returns the keeper of the best weights, or None if the config does not enable it."""
    metric = config.trainer.keep_best
    return None if metric is None else BestModel(folder, metric, config.trainer.best, write)


def _write(config: ExperimentConfig, corpus: Corpus, objective: Objective[Any, Any]) -> Write:
    """Returns a function that writes the model, or the adapter alone, from an objective's state.

    An adapter is written without its base, which its digest identifies.
    """

    def write(state: Mapping[str, Tensor], place: Path, facts: Mapping[str, Any]) -> None:
        exported_modules = objective.exported_modules
        extra_tensors = {
            name: held for name, held in state.items() if name.partition(".")[0] in exported_modules
        }
        weights = own(state)
        if config.adapter:
            chosen = config.architecture, corpus.tokenizer, config.tokenizer, config.objective
            model = Model(place, *chosen, config.adapter, config.init_from)
            write_adapter(
                model, weights, adapter_tensors(objective.network), place, facts, extra_tensors
            )
        else:
            write_model(weights, config.architecture, corpus.tokenizer, place, facts, extra_tensors)

    return write


def _unwatched(line: Mapping[str, float]) -> None:
    """Replaces the progress bar on ranks other than 0."""


def _shown(corpus: Corpus, assembled: TrainingParts) -> list[str]:
    """Returns a few outputs of the network. All ranks must call it, as it may be sharded."""
    objective = assembled.objective
    n = min(N_SHOWN, len(corpus.val))
    objective.eval()
    with torch.no_grad(), objective.trainer.precision_plugin.forward_context():
        return objective.show([corpus.val[i] for i in range(n)])


def _print_result(shown: list[str], measured: Mapping[str, float], xz: float | None) -> None:
    for text in shown:
        print(f"---\n{text}")
    print("---")
    for name, value in measured.items():
        print(f"{name} {value:.4f}")
    if xz is not None and "val/bits_per_byte" in measured:
        print(f"xz -9e on the same text: {xz:.4f} bits a byte")


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
