"""Lineage lists all dependencies of a run, and how each of them has changed."""

import json
import shutil
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import pytest
import tiny

from etude.cli.main import main
from etude.config import config_file
from etude.experiments.lineage import FAULTS, Artefact, ArtefactState, _file, children, lineage
from etude.experiments.provenance import SUFFIX
from etude.files.run_folder import CONFIG
from etude.files.seal import write_sealed
from etude.training.run import start

TWO = {"max_steps": 2, "val_samples": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base run, and a preference run that starts from it; all paths are relative."""
    place = tmp_path_factory.mktemp("lineage")
    with chdir(place):
        for name, run, parent in (("clm", "base", None), ("dpo", "tuned", "base")):
            config = tiny.experiment(name, Path(), trainer=TWO)
            start(replace(config, run=run, init_from=parent), "tiny", [])
    return place


@pytest.fixture
def chain(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may change."""
    shutil.copytree(made, tmp_path / "chain")
    monkeypatch.chdir(tmp_path / "chain")
    return tmp_path / "chain"


def states(root: Artefact) -> dict[str, ArtefactState]:
    """The faults, by key."""
    return {one.key: one.state for one in root.walk() if one.state in FAULTS}


def test_an_unchanged_chain_has_no_faults_from_any_working_directory(
    chain: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(chain.parent)
    root = lineage(chain / "tuned")
    assert {one.state for one in root.walk()} == {ArtefactState.same}
    assert [one.key for one in root.parents] == ["init_from", "tokenizer", "data"]
    assert Path(root.parents[0].place).resolve() == chain / "base"
    assert [Path(one.place).name for one in root.walk() if one.key == "data.path"] == [
        "lines.txt", "preferences.jsonl",
    ]  # fmt: skip
    assert main(["lineage", str(chain / "tuned"), f"children={chain}"]) == 0
    assert "that depend on it" in capsys.readouterr().out
    ((key, below),) = [(one.key, one.place) for one in children(chain / "base", chain)]
    assert (key, Path(below)) == ("init_from", chain / "tuned")


def test_changed_damaged_and_missing_dependencies_are_named(
    chain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (chain / "preferences.jsonl").open("a") as file:
        file.write('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    assert states(lineage(chain / "tuned")) == {"data": ArtefactState.changed}
    weights = chain / "base/model/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    (chain / "lines.txt").unlink()
    found = states(lineage(chain / "tuned"))
    assert found["init_from"] is ArtefactState.damaged
    assert found["data.path"] is ArtefactState.missing
    shutil.rmtree(chain / "base")
    assert states(lineage(chain / "tuned"))["init_from"] is ArtefactState.missing
    assert main(["lineage", "run=tuned"]) == 4
    assert "MISSING: init_from=" in capsys.readouterr().out


@pytest.mark.slow
def test_a_retrained_base_counts_as_changed(chain: Path) -> None:
    shutil.rmtree(chain / "base")
    other = replace(tiny.experiment("clm", chain, trainer=TWO), seed=1)
    start(replace(other, run="base"), "tiny", [])
    assert states(lineage(chain / "tuned")) == {"init_from": ArtefactState.changed}
    assert [one.state for one in children(chain / "base", chain)] == [ArtefactState.changed]


def test_a_changed_or_missing_plugin_is_named(chain: Path) -> None:
    file = chain / "tuned" / CONFIG
    was = file.read_text()
    stored = config_file.yaml.safe_load(was)
    stored["plugins"]["objective"]["sha256"] = "0" * 64
    stored["plugins"]["optimizer"]["address"] = "optimizer/gone"
    write_sealed(file, config_file.yaml.safe_dump(stored))
    named = [(one.place, one.state) for one in lineage(chain / "tuned").parents]
    assert ("objective/dpo", ArtefactState.changed) in named
    assert ("optimizer/gone", ArtefactState.missing) in named
    assert (str(chain / "base"), ArtefactState.same) in named


@pytest.mark.slow
def test_generated_rows_depend_on_the_runs_that_wrote_them(
    chain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tiny.trained_run(chain)
    options = ["data=arithmetic", "data.digits=1", "data.n_problems=30", "data.seq_len=96"]
    options += ["max_new_tokens=6", "n_prompts=10", "reward=length", "judge=rule"]
    options += ["reward.length.target=4"]
    assert main(["label", f"run={run}", "out=rows.jsonl", *options]) == 0
    origin = json.loads((chain / f"rows.jsonl{SUFFIX}").read_text())
    assert origin["parents"]["run"]["place"] == str(run)
    config = tiny.experiment("dpo", chain, trainer=TWO)
    data = replace(config.data, path="rows.jsonl", seq_len=96)
    start(replace(config, data=data, run="taught"), "tiny", [])
    rows = next(one for one in lineage(chain / "taught").walk() if one.key == "data.path")
    assert (rows.state, rows.note) == (ArtefactState.same, "written by etude label")
    assert [(one.key, one.state) for one in rows.parents] == [("run", ArtefactState.same)]
    assert [one.key for one in children(run, chain)] == ["data.path: run"]


@pytest.mark.parametrize(
    ("path", "state"), [("**/part.txt", "unknown"), ("p?rt.txt", "unknown"), ("*.md", "missing")]
)
def test_a_pattern_of_data_files_is_missing_only_if_it_matches_none(
    path: str, state: str, tmp_path: Path
) -> None:
    (tmp_path / "part.txt").touch()
    assert _file(tmp_path / path, frozenset()).state is ArtefactState[state]


def test_an_unknown_argument_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["rnu=a"], "Did you mean run?"),
        ([], "needs a run"),
        (["a", "run=b"], "given twice"),
        (["nowhere"], "run=nowhere is not a folder"),
        (["run="], "run is empty"),
    ):
        assert main(["lineage", *arguments]) == 2
        assert message in capsys.readouterr().err
