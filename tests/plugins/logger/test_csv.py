"""The table contains every metric once, for any order of columns and steps."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from defaults import default

from etude.config.registry import build
from etude.errors import PreemptedError
from etude.training.run import start
from etude.training.run_writer import RunWriter


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_there_is_a_row_per_step_and_a_column_per_metric(tmp_path: Path) -> None:
    logger = build(default("logger/csv"), tmp_path)
    logger.log_metrics({"loss": 0.1}, 1)
    logger.log_metrics({"loss": 1 / 3, "val/loss": 2.0}, 2)
    logger.log_metrics({"perf/tokens_per_s": 7.0}, 2)
    logger.log_metrics({"loss": 5.0}, 3)
    logger.finalize("success")
    names = ("step", "loss", "val/loss", "perf/tokens_per_s")
    wanted = [("1", "0.1", "", ""), ("2", str(1 / 3), "2.0", "7.0"), ("3", "5.0", "", "")]
    assert rows(tmp_path) == [dict(zip(names, row, strict=True)) for row in wanted]


def test_resuming_drops_the_rows_of_lost_steps(tmp_path: Path) -> None:
    lost = build(default("logger/csv"), tmp_path)
    for step in (1, 2, 3):
        lost.log_metrics({"loss": float(step)}, step)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("4,9")  # cut short by a kill
    again = build(default("logger/csv"), tmp_path)
    again.log_metrics({"loss": 2.0}, 2)
    again.log_metrics({"loss": 3.5}, 3)
    assert [(row["step"], row["loss"]) for row in rows(tmp_path)] == [
        ("1", "1.0"), ("2", "2.0"), ("3", "3.5"),
    ]  # fmt: skip


def test_generated_text_has_its_own_table_with_any_content(tmp_path: Path) -> None:
    logger = build(default("logger/csv"), tmp_path)
    odd = 'two\nlines, a "quote"\r\nand \u2028 more'
    logger.log_table("samples", [{"text": odd}, {"text": "a"}], 2)
    logger.log_table("samples", [{"text": "lost"}], 4)
    again = build(default("logger/csv"), tmp_path)
    again.log_table("samples", [{"text": "kept"}], 3)
    with (tmp_path / "samples.csv").open(encoding="utf-8", newline="") as file:
        found = [(int(row["step"]), row["text"]) for row in csv.DictReader(file)]
    assert found == [(2, odd), (2, "a"), (3, "kept")]


def test_a_resumed_run_has_the_table_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = {"log_every": 1, "save_every": 2, "val_every": 2, "val_samples": 2}
    made = tiny.experiment("clm", tmp_path, trainer=trainer)
    made = replace(made, logger={"csv": default("logger/csv")})
    write = RunWriter._track

    def and_fail(self: RunWriter, trainer: Any, line: Any) -> None:
        write(self, trainer, line)
        if line["step"] == 3:
            raise PreemptedError("now")

    start(replace(made, run=str(tmp_path / "whole")), "tiny", [])
    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "_track", and_fail)
        with pytest.raises(PreemptedError):
            start(replace(made, run=str(tmp_path / "cut")), "tiny", [])
    start(replace(made, run=str(tmp_path / "cut")), "tiny", [])
    tables = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in rows(tmp_path / name)]
        for name in ("whole", "cut")
    ]
    assert tables[0] == tables[1]
    assert [row["step"] for row in tables[1]] == ["1", "2", "3", "4", "5"]
