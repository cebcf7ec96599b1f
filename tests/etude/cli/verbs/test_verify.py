"""`etude verify` names every file that is not what was written."""

import shutil
from pathlib import Path
from random import Random

import pytest
import tiny
from damages import all_files, flip

from etude.cli.main import main


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.trained_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def run(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "run"))


def verify(folder: Path, capfd: pytest.CaptureFixture[str]) -> tuple[int, dict[str, str]]:
    """The exit code, and the state of each file that is not ok."""
    capfd.readouterr()
    code = main(["verify", f"run={folder}"])
    lines = [line.split() for line in capfd.readouterr().out.splitlines()[:-1]]
    return code, {line[1].rstrip(":"): line[0] for line in lines if line[0] != "ok"}


def test_each_damaged_file_is_named(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    random = Random(0)
    assert verify(run, capfd) == (0, {})
    assert "other files" not in capfd.readouterr().out
    for file in all_files(run):
        whole = flip(file, random)
        name = str(file.relative_to(run))
        code, faults = verify(run, capfd)
        assert code == 4
        assert faults[name] == "changed"
        assert len(faults) == 1
        file.unlink()
        assert verify(run, capfd)[1].get(name) == "missing", name
        file.write_bytes(whole)


def test_links_and_lost_checkpoints_are_named(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (run / "steps.jsonl").rename(tmp_path / "steps")
    (run / "steps.jsonl").symlink_to(tmp_path / "steps")
    assert verify(run, capfd) == (4, {"steps.jsonl": "link"})
    shutil.rmtree(run / "checkpoints")
    assert verify(run, capfd) == (4, {"steps.jsonl": "link", "checkpoints": "missing"})


def test_a_model_folder_and_a_checkpoint_are_verified(
    run: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for folder in (run / "model", next((run / "checkpoints").iterdir())):
        assert verify(folder, capfd) == (0, {})
        flip(next(folder.glob("*.safetensors")), Random(0))
        assert verify(folder, capfd)[0] == 4


def test_a_folder_that_etude_did_not_write_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", f"run={tmp_path}"]) == 2
    assert "étude did not write it" in capfd.readouterr().err
    assert main(["verify"]) == 2
