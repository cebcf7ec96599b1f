"""`best/` contains the weights with the best validation metric, even after interruptions."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file

from etude.config.schema.trainer import Best, TrainerConfig
from etude.errors import ConfigError, PreemptedError
from etude.files.manifest import MANIFEST, fault_of
from etude.files.run_folder import SUMMARY
from etude.formats.model import Model, network_state
from etude.formats.model_folder import write_model
from etude.formats.state_tree import read_tree
from etude.training.run import start
from etude.training.run_writer import RunWriter

VALUES = {1: 5.0, 2: 3.0, 3: 4.0, 4: 2.0, 5: 2.5, 6: 9.0}
"""A validation metric, by step."""


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes validation return `VALUES`."""

    def measure(self: Any, objective: Any) -> dict[str, float]:
        return {"val/loss": VALUES[objective.trainer.global_step]}

    monkeypatch.setattr("etude.training.validation.Validation.measure", measure)


def config_of(folder: Path, **trainer: Any) -> Any:
    values = {"max_steps": 6, "val_every": 1, "save_every": 3, "keep_best": "val/loss"} | trainer
    return tiny.experiment("clm", folder, trainer=values)


def run(config: Any, folder: Path) -> dict[str, Any]:
    start(replace(config, run=str(folder)), "tiny", [])
    return json.loads((folder / SUMMARY).read_text())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(one: Path, two: Path) -> bool:
    mine, theirs = weights(one), weights(two)
    return all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(("best", "step"), [(Best.lowest, 4), (Best.highest, 6)])
def test_the_best_weights_are_kept_and_the_summary_names_them(
    best: Best, step: int, tmp_path: Path
) -> None:
    summary = run(config_of(tmp_path, best=best), tmp_path / "run")
    assert summary["best"] == {"metric": "val/loss", "step": step, "value": VALUES[step]}
    kept = tmp_path / "run" / "best"
    assert fault_of(kept) is None
    facts = json.loads((kept / MANIFEST).read_text())["facts"]
    assert facts == {"step": step, "value": VALUES[step]}
    assert (kept / "tokenizer.json").exists()
    every = config_of(tmp_path, keep_best=None, save_every=1, keep=9)
    run(every, tmp_path / "every")
    saved = read_tree(tmp_path / "every" / "checkpoints" / f"step-{step:09d}")
    state = network_state(saved["state_dict"])
    parts = every.architecture, tiny.BYTES, every.tokenizer, every.objective
    write_model(Model(tmp_path, *parts, seq_len=every.data.seq_len), state, tmp_path / "wanted")
    assert same(kept, tmp_path / "wanted")
    assert not (tmp_path / "run" / ".best.waiting").exists()


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize("step", [1, 3, 4, 5])
def test_a_run_interrupted_anywhere_keeps_the_same_best_weights(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, write = config_of(tmp_path), RunWriter._write
    whole = run(config, tmp_path / "whole")

    def and_stop(self: RunWriter, line: dict[str, Any]) -> None:
        write(self, line)
        if line["step"] == step:
            raise PreemptedError("killed behind the validation, before anything is saved")

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "_write", and_stop)
        with pytest.raises(PreemptedError):
            run(config, tmp_path / "cut")
    assert run(config, tmp_path / "cut")["best"] == whole["best"]
    assert same(tmp_path / "cut" / "best", tmp_path / "whole" / "best")


@pytest.mark.usefixtures("measured")
def test_better_weights_of_lost_steps_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, write = config_of(tmp_path), RunWriter._write

    def and_stop(self: RunWriter, line: dict[str, Any]) -> None:
        write(self, line)
        if line["step"] == 4:
            raise PreemptedError("now")

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "_write", and_stop)
        with pytest.raises(PreemptedError):
            run(config, tmp_path / "run")
    assert (tmp_path / "run" / ".best.waiting").exists()  # of step 4, which no checkpoint knows
    monkeypatch.setitem(VALUES, 4, 8.0)  # a longer schedule measures otherwise
    assert run(config, tmp_path / "run")["best"]["step"] == 5
    assert json.loads((tmp_path / "run" / "best" / MANIFEST).read_text())["facts"]["step"] == 5


@pytest.mark.usefixtures("measured")
def test_a_run_killed_between_checkpoint_and_best_keeps_its_best_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*given: Any) -> None:
        raise PreemptedError("now")

    config = config_of(tmp_path, max_steps=2, val_every=2, save_every=2)
    with monkeypatch.context() as patch:
        patch.setattr("etude.training.best_model.replace_folder", killed)
        with pytest.raises(PreemptedError):
            run(config, tmp_path / "run")
    assert not (tmp_path / "run" / "best").exists()
    assert run(config, tmp_path / "run")["best"]["step"] == 2
    assert same(tmp_path / "run" / "best", tmp_path / "run" / "model")


def test_best_weights_are_not_kept_by_default(tmp_path: Path) -> None:
    assert run(config_of(tmp_path, keep_best=None), tmp_path / "run")["best"] is None
    assert not (tmp_path / "run" / "best").exists()


def test_an_unknown_metric_is_refused_with_the_reported_ones(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"keep_best=val/los: this run does not report val/los.\n.*\n.*val/loss"
    ):
        run(config_of(tmp_path, keep_best="val/los"), tmp_path / "run")


def test_a_metric_that_is_not_a_validation_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="keep_best must be a validation metric"):
        TrainerConfig(keep_best="loss")


def test_nan_is_never_the_best() -> None:
    nan = float("nan")
    assert not any(best.improves(nan, before) for best in Best for before in (None, 1.0))
