"""The average follows the formula; it is validated and saved, and does not affect training."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import two_processes as two
from defaults import default
from safetensors.torch import load_file

from etude.errors import PreemptedError
from etude.formats.model import network_state
from etude.formats.state_tree import read_tree
from etude.training.run import start
from etude.training.run_writer import RunWriter

DECAY = 0.5


def config_of(folder: Path, ema: bool = True, **trainer: Any) -> Any:
    values = {"max_steps": 4, "val_every": 2, "save_every": 2, "val_samples": 4, "micro_batch": 4}
    made = tiny.experiment("clm", folder, trainer=values | trainer)
    return replace(made, callback={"ema": default("callback/ema", decay=DECAY)} if ema else {})


def run(config: Any, folder: Path) -> list[dict[str, Any]]:
    start(replace(config, run=str(folder)), "tiny", [])
    return tiny.untimed_steps(folder)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def plain(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The training metrics of step lines."""
    return [{k: v for k, v in line.items() if not k.startswith("val/")} for line in lines]


def test_the_model_is_the_average_of_the_weights_after_each_step_of_plain_training(
    tmp_path: Path,
) -> None:
    config = config_of(tmp_path)
    with_it = run(config, tmp_path / "with")
    without = run(config_of(tmp_path, ema=False, save_every=1, keep=9), tmp_path / "without")
    assert plain(with_it) == plain(without)
    assert with_it[-1]["val/loss"] != without[-1]["val/loss"]
    first = tiny.training_parts(config).objective.network.state_dict()
    wanted = {name: tensor.double().clone() for name, tensor in first.items()}
    for step in range(1, 5):
        saved = read_tree(tmp_path / "without" / "checkpoints" / f"step-{step:09d}")
        decay = min(DECAY, (1 + step) / (10 + step))
        for name, now in network_state(saved["state_dict"]).items():
            wanted[name] = decay * wanted[name] + (1 - decay) * now
    for name, tensor in weights(tmp_path / "with").items():
        tiny.assert_close(tensor, wanted[name])


def test_the_last_line_has_the_metrics_of_the_saved_model(tmp_path: Path) -> None:
    config = config_of(tmp_path, val_samples=None)
    last = run(config, tmp_path / "run")[-1]
    still = replace(
        config,
        init_from=str(tmp_path / "run"),
        callback={},
        optimizer=tiny.part("optimizer", "sgd", lr=1e-30, momentum=0.0),
    )
    assert run(still, tmp_path / "again")[-1]["val/loss"] == pytest.approx(last["val/loss"])


@pytest.mark.parametrize("step", [1, 3, 4])
def test_a_run_interrupted_anywhere_ends_with_the_same_average(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, write = config_of(tmp_path), RunWriter._write
    whole = run(config, tmp_path / "whole")

    def and_stop(self: RunWriter, line: dict[str, Any]) -> None:
        write(self, line)
        if line["step"] == step == 3:
            raise PreemptedError("now, and nothing is saved")
        if line["step"] == step:
            os.kill(os.getpid(), signal.SIGTERM)

    def stop(*given: Any) -> None:
        raise PreemptedError("behind the last checkpoint")

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "_write", and_stop)
        if step == 4:
            patch.setattr("etude.training.fit.write_model", stop)
        with pytest.raises(PreemptedError):
            run(config, tmp_path / "cut")
    assert run(config, tmp_path / "cut") == whole
    mine, theirs = weights(tmp_path / "cut"), weights(tmp_path / "whole")
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_two_sharded_processes_have_the_average_of_one(tmp_path: Path) -> None:
    given = ("architecture.dropout=0", "callback=[ema]", "callback.ema.decay=0.5")
    fsdp = ("strategy=fsdp", "trainer.devices=2", "trainer.accelerator=cpu")
    assert two.train(tmp_path / "one", *given).returncode == 0
    ended = two.train(tmp_path / "two", *given, *fsdp)
    assert ended.returncode == 0, ended.stderr
    two.assert_same_curve(tmp_path / "one", tmp_path / "two")
    mine, theirs = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.allclose(mine[name], theirs[name], atol=1e-5) for name in mine)


def test_an_invalid_decay_is_refused() -> None:
    with pytest.raises(ValueError, match=r"decay must be in \(0, 1\), got 1"):
        default("callback/ema", decay=1.0)
