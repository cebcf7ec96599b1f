"""A run can be replayed from what it left behind; where it is not the same, one learns why."""

import shutil
import sys
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import pytest
import tiny

import etude.plugins
from etude.cli.main import main
from etude.files.run_folder import CONFIG
from etude.training.run import start

PLUGIN = '''"""A constant, or twice as much."""
from dataclasses import dataclass
from etude import plugin
from etude.config.schema.plugins import ScheduleConfig
@dataclass
class ToyFlatConfig(ScheduleConfig):
    pass
@plugin(ToyFlatConfig)
def toy_flat(config, total_steps):
    return lambda step: 1.0
'''


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps with dropout, whose data has a relative path."""
    place = tmp_path_factory.mktemp("reproduction")
    with chdir(place):
        trainer = {"max_steps": 4, "val_samples": 2, "val_every": 4, "precision": "32"}
        config = tiny.experiment("clm", Path(), trainer=trainer, dropout=0.1)
        start(replace(config, run="run"), "tiny", [])
    return place


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to be changed."""
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "copy" / "run"


def test_a_run_is_reproduced_bit_for_bit_from_another_folder(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", str(run)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[said.index("steps: all 4 are the same, number by number") :] == [
        "steps: all 4 are the same, number by number",
        "weights: the same digest",
        "the same bit for bit",
        "outputs/reproduce/run",
    ]
    assert not [line for line in said if line.startswith("not as it was")]


def test_its_first_steps_are_those_of_the_whole_run(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", f"run={run}", "steps=2", "out=part"]) == 0
    assert "all 2 are the same" in capsys.readouterr().out
    assert main(["reproduce", f"run={run}", "steps=2", "out=part"]) == 2
    assert "out=part exists already" in capsys.readouterr().err


def test_another_seed_is_noticed_and_so_is_the_first_step_that_differs(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run / CONFIG
    file.write_text(file.read_text().replace("seed: 0", "seed: 1"))
    assert main(["reproduce", str(run)]) == 1
    said = capsys.readouterr().out
    assert f"not as it was: run {run}: CHANGED (config.yaml is not" in said
    assert "step 1 of 4 is the first that differs: it learned from other samples" in said
    assert "model/model.safetensors differs by up to" in said
    assert "not the same\n" in said


def test_an_edited_plugin_is_named_with_what_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plugins/schedule/toy_flat.py"
    file.parent.mkdir(parents=True)
    file.write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(etude.plugins.VARIABLE, str(tmp_path / "plugins"))
    monkeypatch.setattr(etude.plugins, "__path__", etude.plugins.folders())
    config = tiny.experiment("clm", Path(), trainer={"max_steps": 2, "val_samples": 2})
    config = replace(config, schedule=tiny.part("schedule", "toy_flat"), run="run")
    start(config, "tiny", [])
    file.write_text(PLUGIN.replace("1.0", "4.0 / 2"))
    monkeypatch.delitem(sys.modules, "etude.plugins.schedule.toy_flat")
    assert main(["reproduce", "run"]) == 1
    said = capsys.readouterr().out
    assert "not as it was: plugin schedule/toy_flat: CHANGED" in said
    assert "lr was 0.001, is 0.002 (off by 1 of it)" in said


def test_what_cannot_be_reproduced_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in (
        (["nowhere"], "is not a run folder"),
        ([str(run), "steps=0"], "steps must be a whole number from 1, got 0"),
        ([str(run), "setps=1"], "Did you mean steps?"),
    ):
        assert main(["reproduce", *arguments]) == 2
        assert said in capsys.readouterr().err
