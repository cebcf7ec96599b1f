"""A run stops once a metric has not improved for a while, and stays stopped."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from defaults import default

from etude.config.schema.trainer import Best
from etude.errors import ConfigError, PreemptedError
from etude.files.manifest import fault_of
from etude.files.run_folder import SUMMARY
from etude.formats.checkpoint import path_of
from etude.training.run import start
from etude.training.run_writer import RunWriter


def config_of(folder: Path, **given: Any) -> Any:
    """Validates after every step; nothing improves by as much as `min_delta`."""
    trainer = {"max_steps": 6, "val_every": 1, "save_every": 5, "val_samples": 2}
    stopping = default("callback/early_stopping", **({"min_delta": 99.0, "patience": 2} | given))
    made = tiny.experiment("clm", folder, trainer=trainer)
    return replace(made, callback={"early_stopping": stopping})


def run(config: Any, folder: Path) -> list[dict[str, Any]]:
    start(replace(config, run=str(folder)), "tiny", [])
    return tiny.untimed_steps(folder)


def test_the_last_step_is_saved_and_recorded_and_the_run_is_finished(tmp_path: Path) -> None:
    config, folder = config_of(tmp_path), tmp_path / "run"
    lines = run(config, folder)
    assert [line["step"] for line in lines] == [1, 2, 3]  # the first, and two without a better one
    assert fault_of(path_of(folder / "checkpoints", 3)) is None
    summary = json.loads((folder / SUMMARY).read_text())
    assert (summary["stopped_early"], summary["steps_planned"]) == (True, 6)
    assert summary["metrics"]["step"] == 3
    before = (folder / SUMMARY).stat().st_mtime_ns
    assert run(config, folder) == lines
    assert (folder / SUMMARY).stat().st_mtime_ns == before


def test_a_run_that_improves_is_not_stopped(tmp_path: Path) -> None:
    config = config_of(tmp_path, min_delta=0.0, patience=1)
    assert len(run(config, tmp_path / "run")) == 6
    assert not json.loads((tmp_path / "run" / SUMMARY).read_text())["stopped_early"]


def test_with_best_highest_a_decreasing_metric_stops_it(tmp_path: Path) -> None:
    config = config_of(tmp_path, min_delta=0.0, best=Best.highest, patience=1)
    assert len(run(config, tmp_path / "run")) == 2


@pytest.mark.parametrize("step", [2, 3])
def test_a_run_interrupted_around_its_last_step_stops_at_the_same_step(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tmp_path)
    whole, write = run(config, tmp_path / "whole"), RunWriter._write

    def and_stop(self: RunWriter, line: dict[str, Any]) -> None:
        write(self, line)
        if line["step"] == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "_write", and_stop)
        with pytest.raises(PreemptedError):
            run(config, tmp_path / "cut")
    assert run(config, tmp_path / "cut") == whole


def test_an_unknown_metric_is_refused_with_the_reported_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"metric=val/los: this run does not report"):
        run(config_of(tmp_path, metric="val/los"), tmp_path / "run")


@pytest.mark.parametrize("wrong", [{"patience": 0}, {"min_delta": -1.0}])
def test_invalid_values_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        default("callback/early_stopping", **wrong)
