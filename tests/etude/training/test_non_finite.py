"""A step with a number that is not finite loses nothing: it is repeated, or skipped on resume."""

import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import tiny
import torch

from etude.config.schema.trainer import NonFinite
from etude.errors import NonFiniteError
from etude.files.manifest import MANIFEST, fault_of
from etude.files.run_folder import CHECKPOINTS, NON_FINITE, STEPS
from etude.formats.checkpoint import newest_intact, step_of
from etude.formats.state_tree import read_tree
from etude.objective.loss import Loss
from etude.training.assemble import trainer_of
from etude.training.run import quiet
from etude.training.run_writer import RunWriter


class Noise(pl.Callback):
    """Adds noise from every global generator to the gradient of each micro-batch."""

    def __init__(self, bad_step: int | None = None) -> None:
        self.bad_step = bad_step

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        noise = random.random() + float(np.random.rand()) + float(torch.rand(()))
        for parameter in pl_module.parameters():
            if parameter.grad is not None:
                parameter.grad += noise
                if trainer.global_step + 1 == self.bad_step:
                    parameter.grad.fill_(math.nan)


def train(config: Any, folder: Path, callbacks: Sequence[pl.Callback], **tools: Any) -> Any:
    """Trains, or resumes, a run in a folder; returns the objective."""
    quiet()
    folder.mkdir(exist_ok=True)
    made = tiny.training_parts(config)
    made.objective.tools = replace(made.objective.tools, **tools)
    writer = RunWriter(folder, made.plan.intervals, made.validation, 0, lambda line: None)
    trainer = trainer_of(config, made.plan, folder, [*callbacks, writer])
    start = newest_intact(folder / CHECKPOINTS)
    trainer.fit(made.objective, made.loader, ckpt_path=start)
    return made.objective


@pytest.mark.parametrize("micro_batch", [8, 2])
@pytest.mark.parametrize("name", ["clm", pytest.param("grpo", marks=pytest.mark.slow)])
def test_the_last_good_step_is_saved_so_that_a_transient_fault_changes_no_number(
    name: str, micro_batch: int, tmp_path: Path
) -> None:
    given = {"save_every": 5, "micro_batch": micro_batch}
    reward = {"reward": tiny.remainder} if name == "grpo" else {}
    config = tiny.experiment(name, tmp_path, trainer=given)
    train(config, tmp_path / "good", [Noise()], **reward)
    with pytest.raises(NonFiniteError, match=r"Step 2 was saved.*(?s:.)*reproduce .* step=3"):
        train(config, tmp_path / "bad", [Noise(bad_step=3)], **reward)
    newest = newest_intact(tmp_path / "bad" / CHECKPOINTS)
    assert newest is not None
    assert step_of(newest) == 2
    train(config, tmp_path / "bad", [Noise()], **reward)
    assert json.dumps(tiny.untimed_steps(tmp_path / "bad")) == json.dumps(
        tiny.untimed_steps(tmp_path / "good")
    )


@pytest.mark.parametrize("micro_batch", [8, 2])
def test_resuming_with_skip_is_as_if_the_run_had_skipped_from_the_start(
    micro_batch: int, tmp_path: Path
) -> None:
    config = tiny.experiment("clm", tmp_path, trainer={"micro_batch": micro_batch})
    with pytest.raises(NonFiniteError):
        train(config, tmp_path / "stopped", [Noise(bad_step=3)])
    train(config, tmp_path / "stopped", [Noise(bad_step=3)], non_finite=NonFinite.skip)
    train(config, tmp_path / "skipped", [Noise(bad_step=3)], non_finite=NonFinite.skip)
    stopped, skipped = (tiny.untimed_steps(tmp_path / n) for n in ("stopped", "skipped"))
    assert json.dumps(stopped) == json.dumps(skipped)
    assert [line["skipped"] for line in stopped] == [0, 0, 1, 1, 1]


def test_the_batch_and_what_was_not_finite_are_saved_and_sealed(tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path, trainer={"micro_batch": 2})
    with pytest.raises(NonFiniteError, match="No step was taken before it"):
        train(config, tmp_path / "run", [Noise(bad_step=1)])
    (place,) = (tmp_path / "run" / NON_FINITE).iterdir()
    assert fault_of(place) is None
    batches = read_tree(place)
    assert [batch["targets"]["ids"].shape[0] for batch in batches] == [2, 2, 2, 2]
    facts = json.loads((place / MANIFEST).read_text())["facts"]
    assert facts["step"] == 1
    assert facts["grad_norm"] == "nan"
    assert "network.embedding.weight" in facts["non_finite_gradients"]
    assert not (tmp_path / "run" / CHECKPOINTS).exists()
    assert (tmp_path / "run" / STEPS).read_text() == ""


def test_a_non_finite_loss_stops_the_run_even_if_every_gradient_is_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.experiment("clm", tmp_path)
    made = tiny.training_parts(config)
    loss = made.objective.loss

    def infinite(batch: Any) -> Loss:
        found = loss(batch)
        return replace(found, total=found.total + math.inf)

    monkeypatch.setattr(made.objective, "loss", infinite)
    with pytest.raises(NonFiniteError, match=r"step 1 is inf and its gradient norm is \d"):
        tiny.fit(config, made, tmp_path / "run")
    made.objective.tools = replace(made.objective.tools, non_finite=NonFinite.skip)
    lines = tiny.fit(config, made, tmp_path / "skipping")
    assert lines[-1]["skipped"] == 5
