"""Run lengths and batch sizes follow from the config and the tokens of the data."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import tiny
from defaults import default

from etude.training.plan import Plan


def plan(folder: Path, ramp: dict[str, int] | None = None, **trainer: Any) -> Plan:
    config = tiny.experiment("clm", folder, trainer={"max_steps": None, "micro_batch": 2} | trainer)
    ramps = {"batch": default("ramp/batch", **ramp)} if ramp else {}
    return tiny.training_parts(replace(config, ramp=ramps)).plan


def test_a_step_has_as_many_micro_batches_as_lightning_accumulates(tmp_path: Path) -> None:
    made = plan(tmp_path, max_steps=5)
    assert (made.n_micro_batches, made.global_batch, made.steps) == (4, 8, 5)
    assert made.until(3).steps == 3


def test_a_ramp_of_the_batch_makes_an_epoch_longer(tmp_path: Path) -> None:
    plain = plan(tmp_path, max_epochs=2)
    ramped = plan(tmp_path, {"start": 2, "steps": 3}, max_epochs=2)
    missing = 3 * 8 - (2 + 4 + 6)  # samples of the first three steps
    sizes = ramped.epoch.sizes
    assert sizes.n_samples(ramped.steps) >= 2 * ramped.epoch.steps * 8
    assert sizes.n_samples(ramped.steps - 1) < 2 * ramped.epoch.steps * 8
    assert ramped.steps - plain.steps in (missing // 8, missing // 8 + 1)


def test_a_run_of_max_tokens_has_them_with_a_ramp_too(tmp_path: Path) -> None:
    plain = plan(tmp_path, max_tokens=2000)
    ramped = plan(tmp_path, {"start": 2, "steps": 3}, max_tokens=2000)
    per_step = (plain.epoch.tokens or 0.0) / plain.epoch.steps
    assert ramped.epoch.tokens == plain.epoch.tokens
    tokens = ramped.epoch.sizes.full_steps(ramped.steps) * per_step
    assert 2000 <= tokens < 2000 + 1.01 * per_step
