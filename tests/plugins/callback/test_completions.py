"""The table contains the completions of the current rollout, with their rewards."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from defaults import default

from etude.errors import ConfigError
from etude.training.run import start

SHOWN = {"completions": default("callback/completions", n=3)}


def test_completions_and_rewards_are_written_to_the_run_and_its_trackers(tmp_path: Path) -> None:
    trainer = {"max_steps": 2, "val_every": 1, "val_samples": 2}
    reward = {"length": default("reward/length", target=3)}
    config = tiny.experiment("grpo", tmp_path, trainer=trainer, reward=reward)
    config = replace(config, callback=SHOWN, logger={"csv": default("logger/csv")})
    start(replace(config, run=str(tmp_path / "run")), "tiny", [])
    lines = (tmp_path / "run/completions.jsonl").read_text(encoding="utf-8").splitlines()
    logged = [json.loads(line) for line in lines]
    assert [line["step"] for line in logged] == [1, 2]
    assert logged[0]["completions"] != logged[1]["completions"]
    for row in (row for line in logged for row in line["completions"]):
        assert row["reward"] <= 0
        assert row["prompt"]
    with (tmp_path / "run/completions.csv").open(encoding="utf-8", newline="") as file:
        rows = [(int(r["step"]), float(r["reward"])) for r in csv.DictReader(file)]
    wanted = [(line["step"], row["reward"]) for line in logged for row in line["completions"]]
    assert rows == wanted
    assert len(rows) == 6


def test_an_objective_without_completions_is_refused(tmp_path: Path) -> None:
    config = replace(tiny.experiment("clm", tmp_path), callback=SHOWN, run=str(tmp_path / "run"))
    with pytest.raises(ConfigError, match="does not train on its own"):
        start(config, "tiny", [])
