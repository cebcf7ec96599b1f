"""What is saved of a step that was not taken, because its loss or gradient is not finite."""

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.loops.progress import (
    _ProcessedTracker,  # pyright: ignore[reportPrivateUsage] -- no public name
)
from torch import Tensor

from etude.files.run_folder import NON_FINITE
from etude.formats.checkpoint import write_sealed_folder
from etude.formats.state_tree import write_tree
from etude.objective.loader import StepLoader
from etude.objective.objective import Objective


def save_batch(objective: Objective[Any, Any], step: int, rank: int, folder: Path) -> Path:
    """Writes this rank's micro-batches of a step, and what is not finite; returns their folder."""
    place = folder / NON_FINITE / f"step-{step:09d}-rank-{rank}"
    named = objective.named_parameters()
    bad = [n for n, p in named if p.grad is not None and not torch.isfinite(p.grad).all()]
    facts = {
        "step": step,
        "samples": objective.batch_sums.digest,
        "grad_norm": str(objective.grad_norm),  # JSON has no NaN
        "sums": {name: str(float(value)) for name, value in objective.batch_sums.sums.items()},
        "non_finite_gradients": bad,
    }
    batches = _as_tree(objective.step_batches)
    place.parent.mkdir(exist_ok=True)
    write_sealed_folder(place, lambda inside: write_tree(batches, inside), facts)
    return place


def rewind(trainer: pl.Trainer, n_micro_batches: int) -> None:
    """Sets the loader and Lightning's counters as they were at the end of the previous step."""
    loader = trainer.train_dataloader
    assert isinstance(loader, StepLoader)
    loader.rewind()
    progress = trainer.fit_loop.epoch_loop.batch_progress
    for counts in (progress.current, progress.total):
        assert isinstance(counts, _ProcessedTracker)
        counts.ready -= n_micro_batches
        counts.started = counts.processed = counts.ready
        counts.completed = counts.ready - 1  # as in `on_train_batch_end`, where others are saved


def _as_tree(value: Any) -> Any:  # a batch is any dataclass
    if is_dataclass(value):
        return {item.name: _as_tree(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, list | tuple):
        return [_as_tree(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        return {str(k): _as_tree(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    is_plain = value is None or isinstance(value, Tensor | np.ndarray | str | int | float)
    return value if is_plain else repr(value)
