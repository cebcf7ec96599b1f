"""A run can be replayed from its folder; a difference is reported with its cause."""

import shutil
import sys
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import pytest
import tiny

import etude.plugins
from etude.cli.main import main
from etude.errors import NonFiniteError
from etude.files.json_file import read_signed, write_signed
from etude.files.run_folder import CONFIG
from etude.files.seal import write_sealed
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
    """A copy that a test may change."""
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "copy" / "run"


def test_a_run_is_reproduced_bit_for_bit_from_a_different_folder(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", str(run)]) == 0
    output = capsys.readouterr().out.splitlines()
    assert output[output.index("steps: all numbers of all 4 steps are identical") :] == [
        "steps: all numbers of all 4 steps are identical",
        "weights: identical digest",
        "bit-identical",
        "outputs/reproduce/run",
    ]
    assert not [line for line in output if line.startswith("differs: ")]


def test_a_partial_replay_equals_the_first_steps(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", f"run={run}", "steps=2", "out=part"]) == 0
    assert "all 2 steps are identical" in capsys.readouterr().out
    assert main(["reproduce", f"run={run}", "steps=2", "out=part"]) == 2
    assert "out=part already exists" in capsys.readouterr().err


def test_one_step_is_repeated_after_the_checkpoint_before_it(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", f"run={run}", "step=4", "out=one"]) == 0
    assert "step 4: bit-identical" in capsys.readouterr().out
    assert main(["reproduce", f"run={run}", "step=9", "out=none"]) == 2
    assert "Steps that follow a checkpoint: 4, 5." in capsys.readouterr().err
    assert not Path("none").exists()


def test_a_step_that_was_not_finite_is_repeated_with_the_same_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = tiny.experiment("clm", tmp_path, trainer={"clip": None, "max_steps": 4})
    config = replace(config, optimizer=tiny.part("optimizer", "sgd", lr=1e30), run="run")
    with pytest.raises(NonFiniteError, match=r"step=\d+ repeats this step alone") as stop:
        start(config, "tiny", [])
    command = str(stop.value).splitlines()[-1].split()[1:4]
    assert main([*command, "out=again"]) == 0
    output = capsys.readouterr().out
    assert "the step was not taken" in output
    assert "bit-identical" in output
    (file,) = Path("run/non_finite").glob("*/manifest.json")
    content = read_signed(file)
    content["facts"]["grad_norm"] += "1"
    write_signed(file, content)
    assert main([*command, "out=more"]) == 1
    assert "-rank-0 differs in grad_norm" in capsys.readouterr().out


def test_a_changed_seed_is_reported_with_the_first_step_that_differs(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run / CONFIG
    file.write_text(file.read_text().replace("seed: 0", "seed: 1"))
    assert main(["reproduce", str(run)]) == 4
    assert "config.yaml has changed since it was written" in capsys.readouterr().err
    write_sealed(file, file.read_text())
    assert main(["reproduce", str(run)]) == 1
    output = capsys.readouterr().out
    assert "step 1 of 4 is the first that differs: it trained on other samples" in output
    assert "model/model.safetensors differs by up to" in output
    assert "not identical\n" in output


def test_an_edited_plugin_is_named_with_its_effect(
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
    output = capsys.readouterr().out
    assert "differs: plugin schedule/toy_flat: CHANGED" in output
    assert "lr was 0.001, is 0.002 (relative difference 1)" in output


def test_a_run_that_cannot_be_reproduced_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, message in (
        (["nowhere"], "is not a run folder"),
        ([str(run), "steps=0"], "steps must be a positive whole number, got 0"),
        ([str(run), "setps=1"], "Did you mean steps?"),
    ):
        assert main(["reproduce", *arguments]) == 2
        assert message in capsys.readouterr().err
