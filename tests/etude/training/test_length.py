"""A run can be made longer, never shorter than it is; a jump of the schedule is reported."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import tiny

from etude.config.schema.trainer import TrainerConfig
from etude.errors import ConfigError
from etude.files.run_folder import untimed_steps
from etude.training.inputs import read_changes
from etude.training.length import Epoch, rate_jump
from etude.training.run import start


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    "length", [{"max_steps": 2}, {"max_epochs": 0.5}, {"max_tokens": 150}], ids=str
)
def test_a_length_that_the_run_has_passed_is_refused(
    length: dict[str, float], finished: bool, tmp_path: Path
) -> None:
    config = tiny.experiment("clm", tmp_path, trainer={"max_steps": 6, "val_samples": 2})
    config = replace(config, run=str(tmp_path / "run"))
    start(config, "tiny", [])
    if not finished:
        (tmp_path / "run/summary.json").unlink()
    files = [file for file in (tmp_path / "run").rglob("*") if file.is_file()]
    before = {file: file.read_bytes() for file in files}
    shorter = replace(config, trainer=replace(config.trainer, **length))
    (name, value), *_ = length.items()
    with pytest.raises(ConfigError, match=rf"{name}={value}.* step \d, but .* is at step 6"):
        start(shorter, "tiny", [f"trainer.{name}={value}"])
    assert {file: file.read_bytes() for file in files} == before


def test_the_first_of_several_lengths_applies() -> None:
    epoch = Epoch(steps=7.5, tokens=300.0)
    assert epoch.n_steps(TrainerConfig(max_epochs=2)) == 15
    assert epoch.n_steps(TrainerConfig(max_tokens=301)) == 8
    assert epoch.n_steps(TrainerConfig(max_tokens=301, max_epochs=2, max_steps=9)) == 8


@pytest.mark.parametrize(
    ("schedule", "step", "jumps"),
    [
        ("cosine", 20, True), ("linear", 10, True), ("constant", 20, False), ("wsd", 10, False),
        ("wsd", 20, True), ("inverse_sqrt", 20, False),
    ],
)  # fmt: skip
def test_the_rate_jumps_if_the_schedule_depends_on_the_length(
    schedule: str, step: int, jumps: bool, tmp_path: Path
) -> None:
    config = tiny.experiment("clm", tmp_path)
    config = replace(config, schedule=tiny.part("schedule", schedule, warmup_steps=2))
    assert (rate_jump(config, 20, 40, step) is not None) is jumps


def test_a_longer_run_names_both_rates_and_records_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny.experiment("clm", tmp_path, trainer={"max_steps": 4, "val_samples": 2})
    config = replace(config, run=str(tmp_path / "run"))
    start(config, "tiny", [])
    longer = replace(config, trainer=replace(config.trainer, max_steps=8))
    start(longer, "tiny", ["trainer.max_steps=8"])
    length, rate = read_changes(tmp_path / "run")
    assert length == {"step": 4, "what": "trainer.max_steps", "was": 4, "now": 8}
    assert rate["was"] == pytest.approx(1e-4)
    rates = [line["lr"] for line in untimed_steps(tmp_path / "run")]
    assert [rate["was"], rate["now"]] == pytest.approx(rates[4:6])
    shown = capsys.readouterr().err
    assert f"from {rate['was']:.3g} to {rate['now']:.3g} after step 4" in shown
    assert "schedule=wsd" in shown
    assert json.loads((tmp_path / "run/summary.json").read_text())["metrics"]["step"] == 8
