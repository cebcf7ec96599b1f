"""What is told of an earlier run is what that run would measure, and training does not notice."""

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
    given = {"run": str(folder / name), "init_from": str(tiny.taught(folder))}
    start(replace(config, **given, callback=callbacks), "tiny", [])
    return tiny.record_of(folder / name)


def test_the_numbers_are_those_of_the_earlier_run_s_own_validation(tmp_path: Path) -> None:
    forgetting = default("callback/forgetting", run=str(tiny.taught(tmp_path)))
    with_it = run(tmp_path, "with", "clm", forgetting=forgetting)
    without = run(tmp_path, "without", "clm")
    for line, plain in zip(with_it, without, strict=True):
        told = {k: line.pop(k) for k in list(line) if k.startswith("val/before/")}
        assert line == plain
        for name, value in told.items():  # the same objective on the same held-out records
            assert value == pytest.approx(plain[name.replace("before/", "")], rel=1e-6)
        assert bool(told) == ("val/loss" in plain)


def test_another_objective_is_measured_by_the_earlier_one_s(tmp_path: Path) -> None:
    forgetting = default("callback/forgetting", run=str(tiny.taught(tmp_path)))
    lines = run(tmp_path, "with", "sft", forgetting=forgetting)
    assert lines[-1]["val/before/bits_per_byte"] > 0
    assert "val/bits_per_byte" not in lines[-1]


def test_a_run_there_is_not_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    forgetting = default("callback/forgetting", run=str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="holds no model"):
        run(tmp_path, "with", "clm", forgetting=forgetting)
    assert not (tmp_path / "with").exists()
