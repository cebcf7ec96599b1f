import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import tiny
import torch
from defaults import default

from etude.config.plugin_files import options
from etude.config.registry import build
from etude.errors import DiskFullError
from etude.files.run_folder import CHECKPOINTS
from etude.formats.checkpoint import path_of
from etude.training.disk_space import optimizer_bytes, refuse_full_disk
from etude.training.optim import optimizer_parameters
from etude.training.run import start


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize("name", options("optimizer"))
def test_the_size_of_an_optimizer_is_that_of_its_state_after_a_step(
    name: str, tmp_path: Path
) -> None:
    config = replace(tiny.experiment("clm", tmp_path), optimizer=default(f"optimizer/{name}"))
    objective = tiny.training_parts(config).objective
    optimizer = build(config.optimizer, optimizer_parameters(objective))
    for parameter in objective.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    states = optimizer.state_dict()["state"].values()
    held = sum(v.nbytes for state in states for v in state.values() if isinstance(v, torch.Tensor))
    assert optimizer_bytes(config, objective) == (0 if name == "adafactor" else held)


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))


@pytest.mark.parametrize("keep_best", [None, "val/perplexity"])
def test_the_needed_space_is_that_of_the_files_of_a_run(
    keep_best: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.experiment("clm", tmp_path, trainer={"save_every": 1, "keep_best": keep_best})
    run = tmp_path / "run"
    config = replace(config, run=str(run))
    start(config, "tiny", [])
    one = size_of(path_of(run / CHECKPOINTS, 5))
    model = size_of(run / "model")
    needed = 3 * one + (1 if keep_best is None else 3) * model
    parts = tiny.training_parts(config)

    def refuse_with(free: float, folder: Path) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(0, 0, int(free)))
        refuse_full_disk(config, parts, folder)

    refuse_with(needed, tmp_path / "new")
    with pytest.raises(DiskFullError, match=r"trainer\.keep=2.*(?s:.)*MB free.*(?s:.)*larger disk"):
        refuse_with(0.9 * needed, tmp_path / "new")
    refuse_with(needed - 2 * one, run)  # two checkpoints are there already


def test_a_refused_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(0, 0, 1000))
    config = tiny.experiment("clm", tmp_path)
    with pytest.raises(DiskFullError):
        start(replace(config, run=str(tmp_path / "run")), "tiny", [])
    assert not (tmp_path / "run").exists()
