"""Refuses a run whose checkpoints and model cannot fit on the disk of its folder.

The size is a lower bound: it counts weights and the optimizer's state, and not what callbacks and
rollouts add.
"""

import math
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from etude.config.registry import build
from etude.config.schema.experiment import ExperimentConfig
from etude.errors import DiskFullError
from etude.files.run_folder import CHECKPOINTS
from etude.formats.checkpoint import checkpoints
from etude.training.assemble import TrainingParts
from etude.training.optim import optimizer_parameters


def refuse_full_disk(config: ExperimentConfig, parts: TrainingParts, folder: Path) -> None:
    """Raises DiskFullError if the disk of a run folder has too little space for what it writes."""
    weights = _size(parts.objective.state_dict().values())
    checkpoint = weights + optimizer_bytes(config, parts.objective)
    intervals = parts.plan.intervals
    kept = min(intervals.keep + 1, math.ceil(intervals.total / intervals.save))
    n_new = max(0, kept - len(checkpoints(folder / CHECKPOINTS)))
    trained = _size(p for p in parts.objective.network.parameters() if p.requires_grad)
    n_models = 1 if config.trainer.keep_best is None else 3  # best/, and the next before it moves
    needed = n_new * checkpoint + n_models * trained
    disk = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(disk).free
    if needed > free:
        raise DiskFullError(
            f"run={folder}: its checkpoints and model need {_shown(needed)} ({n_new} checkpoints "
            f"of {_shown(checkpoint)}: trainer.keep={intervals.keep}, and one that is being "
            f"written), but the disk has {_shown(free)} free.\n  Nothing was written. Free some "
            "space, choose run=<a folder on a larger disk>, or lower trainer.keep."
        )


def optimizer_bytes(config: ExperimentConfig, module: nn.Module) -> int:
    """Returns the size of the optimizer's state, from a step without memory; 0 if unknown."""
    parameters = optimizer_parameters(module)
    with FakeTensorMode():
        shapes = [(one.tensor.shape, one.tensor.dtype) for one in parameters]
        fakes = [nn.Parameter(torch.empty(shape, dtype=dtype)) for shape, dtype in shapes]
        pairs = zip(parameters, fakes, strict=True)
        optimizer = build(config.optimizer, [replace(one, tensor=fake) for one, fake in pairs])
        for fake in fakes:
            fake.grad = torch.empty_like(fake)
        try:
            optimizer.step()
        except RuntimeError:  # its step depends on values
            return 0
    states = optimizer.state_dict()["state"].values()
    return sum(v.nbytes for state in states for v in state.values() if isinstance(v, Tensor))


def _size(tensors: Iterable[Tensor]) -> int:
    """Returns the bytes of tensors; tied ones count once."""
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


def _shown(size: int) -> str:
    return f"{size / 1e9:,.2f} GB" if size >= 1e8 else f"{size / 1e6:,.2f} MB"
