"""Samples are stored with their step, and training is not affected."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from defaults import default

from etude.training.run import start


def run(folder: Path, place: Path, *callbacks: str) -> list[dict[str, Any]]:
    trainer = {"max_steps": 4, "val_every": 2, "val_samples": 2}
    config = tiny.experiment("clm", folder, trainer=trainer, dropout=0.1)
    config = replace(
        config,
        run=str(place),
        decoding=default("decoding/sample"),
        callback={name: default(f"callback/{name}") for name in callbacks},
    )
    start(config, "tiny", [])
    return tiny.untimed_steps(place)


def lines(place: Path) -> list[dict[str, Any]]:
    text = (place / "samples.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_there_is_a_line_per_validation_and_training_is_bit_identical(tmp_path: Path) -> None:
    with_it = run(tmp_path, tmp_path / "with", "samples")
    assert with_it == run(tmp_path, tmp_path / "without")
    assert [line["step"] for line in lines(tmp_path / "with")] == [2, 4]
    assert all(len(line["texts"]) == 3 for line in lines(tmp_path / "with"))


@pytest.mark.parametrize("order", [("samples", "ema"), ("ema", "samples")])
def test_samples_use_the_weights_that_were_validated(
    order: tuple[str, str], tmp_path: Path
) -> None:
    run(tmp_path, tmp_path / "run", *order)
    last = (tmp_path / "run" / "samples.txt").read_text(encoding="utf-8")  # of the average
    assert last == "\n\n".join(lines(tmp_path / "run")[-1]["texts"]) + "\n"


def test_samples_of_lost_steps_are_removed(tmp_path: Path) -> None:
    place = tmp_path / "run"
    run(tmp_path, place, "samples")
    kept = lines(place)
    (place / "summary.json").unlink()
    (place / "checkpoints" / "step-000000004").rename(place / "lost")
    with (place / "samples.jsonl").open("a") as file:
        file.write('{"step": 5, "te')
    run(tmp_path, place, "samples")
    assert lines(place) == kept


def test_n_records_must_be_positive() -> None:
    with pytest.raises(ValueError, match="n_records must be at least 1, got 0"):
        default("callback/samples", n_records=0)
