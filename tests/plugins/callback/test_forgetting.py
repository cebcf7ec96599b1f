"""The metrics are those of the earlier run's own validation, and training is not affected."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from defaults import default

from etude.errors import ConfigError
from etude.training.run import start


def run(folder: Path, name: str, objective: str, **callbacks: Any) -> list[dict[str, Any]]:
    trainer = {"max_steps": 4, "val_every": 2}
    config = tiny.experiment(objective, folder, trainer=trainer)
    given = {"run": str(folder / name), "init_from": str(tiny.teacher_run(folder))}
    start(replace(config, **given, callback=callbacks), "tiny", [])
    return tiny.untimed_steps(folder / name)


def test_the_metrics_equal_those_of_the_earlier_runs_validation(tmp_path: Path) -> None:
    forgetting = default("callback/forgetting", run=str(tiny.teacher_run(tmp_path)))
    with_it = run(tmp_path, "with", "clm", forgetting=forgetting)
    without = run(tmp_path, "without", "clm")
    for line, plain in zip(with_it, without, strict=True):
        metrics = {k: line.pop(k) for k in list(line) if k.startswith("val/before/")}
        assert line == plain
        for name, value in metrics.items():  # the same objective on the same held-out records
            assert value == pytest.approx(plain[name.replace("before/", "")], rel=1e-6)
        assert bool(metrics) == ("val/loss" in plain)


def test_the_earlier_runs_objective_is_evaluated_if_objectives_differ(tmp_path: Path) -> None:
    forgetting = default("callback/forgetting", run=str(tiny.teacher_run(tmp_path)))
    lines = run(tmp_path, "with", "sft", forgetting=forgetting)
    assert lines[-1]["val/before/bits_per_byte"] > 0
    assert "val/bits_per_byte" not in lines[-1]


def test_a_missing_run_is_refused_before_a_folder_is_created(tmp_path: Path) -> None:
    forgetting = default("callback/forgetting", run=str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="contains no model"):
        run(tmp_path, "with", "clm", forgetting=forgetting)
    assert not (tmp_path / "with").exists()
