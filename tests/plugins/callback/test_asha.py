"""One in `reduction` jobs continues at each rung, and a stopped job stays stopped."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from defaults import default

from etude.config.registry import build
from etude.config.schema.trainer import Best
from etude.errors import ConfigError
from etude.experiments.job import JobRecord
from etude.files.run_folder import SUMMARY
from etude.files.sweep_folder import PRUNED
from etude.training.run import start


def asha(**given: Any) -> Any:
    return build(default("callback/asha", **({"min_steps": 2, "reduction": 3} | given)))


def test_one_in_three_jobs_continues_at_a_rung() -> None:
    others = [{2: float(value)} for value in (1, 2, 3, 4, 5)]
    assert not asha().should_prune({2: 1.5}, others)  # second of six: two go on
    assert asha().should_prune({2: 2.5}, others)
    assert asha(best=Best.highest).should_prune({2: 1.5}, others)
    assert not asha(best=Best.highest).should_prune({2: 4.5}, others)
    assert asha().should_prune({2: float("nan")}, others)


def test_the_first_job_continues_and_is_compared_again_at_the_next_rung() -> None:
    assert not asha().should_prune({2: 9.0}, [{1: 0.0}])
    curve = {2: 9.0, 4: 8.0}
    assert not asha().should_prune(curve, [{2: 1.0, 4: 1.0}])  # between rungs nobody is compared
    assert asha().should_prune({**curve, 6: 7.0}, [{2: 1.0, 4: 1.0, 7: 6.0}])
    assert not asha().should_prune({**curve, 6: 7.0}, [{2: 1.0, 4: 1.0}])


def config_of(folder: Path, **given: Any) -> Any:
    trainer = {"max_steps": 6, "val_every": 1, "save_every": 5, "val_samples": 2}
    stopping = default("callback/asha", **({"min_steps": 2} | given))
    made = tiny.experiment("clm", folder, trainer=trainer)
    return replace(made, callback={"asha": stopping})


def run(config: Any, folder: Path) -> list[dict[str, Any]]:
    start(replace(config, run=str(folder)), "tiny", [])
    return tiny.untimed_steps(folder)


def other(sweep: Path, loss: float) -> None:
    """Writes a job of the sweep with this loss."""
    JobRecord(0, []).save(sweep)
    (sweep / "0").mkdir()
    lines = [json.dumps({"step": step, "val/loss": loss}) for step in range(1, 7)]
    (sweep / "0/steps.jsonl").write_text("\n".join([*lines, '{"step": 7, "val/lo']))


def test_a_job_that_is_behind_stops_at_the_rung_and_stays_stopped(tmp_path: Path) -> None:
    other(tmp_path / "sweep", 0.0)
    folder = tmp_path / "sweep" / "1"
    lines = run(config_of(tmp_path), folder)
    assert [line["step"] for line in lines] == [1, 2]
    assert json.loads((folder / PRUNED).read_text())["step"] == 2
    assert json.loads((folder / SUMMARY).read_text())["stopped_early"]
    (folder / SUMMARY).unlink()  # killed behind its last checkpoint
    assert run(config_of(tmp_path), folder) == lines


def test_a_job_that_is_ahead_and_a_run_outside_a_sweep_finish(tmp_path: Path) -> None:
    other(tmp_path / "sweep", 99.0)
    assert len(run(config_of(tmp_path), tmp_path / "sweep" / "1")) == 6
    (tmp_path / "alone").mkdir()
    (tmp_path / "sweep" / "0").rename(tmp_path / "alone" / "0")
    assert len(run(config_of(tmp_path), tmp_path / "alone" / "1")) == 6


def test_an_unknown_metric_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not report val/los"):
        run(config_of(tmp_path, metric="val/los"), tmp_path / "run")
