"""A sweep is defined by its job folders: missing jobs run, and the best becomes a recipe."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import etude.plugins
from etude.cli.main import main
from etude.config import composition, config_file
from etude.experiments.job import JobRecord, State, read_jobs
from etude.experiments.leaderboard import leaderboard, markdown
from etude.experiments.recipe import recipe
from etude.files.seal import write_sealed
from etude.training.continuation import flat
from etude.training.experiment import validate_experiment

SMALL = (
    "data=text", "data.path=good.txt", "tokenizer=byte", "architecture.dim=16",
    "architecture.n_layers=1", "architecture.n_heads=2", "data.seq_len=32",
    "trainer.global_batch=4", "trainer.max_steps=2", "trainer.val_samples=4", "logger=[]",
    "trainer.accelerator=cpu",
)  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a text file."""
    monkeypatch.chdir(tmp_path)
    text = "\n\n".join(f"The quick brown fox {i} jumps over the lazy dog. " * 5 for i in range(99))
    (tmp_path / "good.txt").write_text(text)
    return tmp_path


def write_job(sweep: Path, value: float | None, *overrides: str, **fields: Any) -> None:
    """Writes the files of a job with this metric."""
    number = len(read_jobs(sweep))
    replace(JobRecord(number, ["data=text", *overrides], State.finished), **fields).save(sweep)
    if value is not None:
        (sweep / str(number)).mkdir()
        metrics = {"step": 5, "val/loss": value}
        summary = json.dumps({"metrics": metrics, "seconds": 1.5, "best": None})
        write_sealed(sweep / str(number) / "summary.json", summary)


def test_the_best_job_is_first_and_jobs_without_a_metric_are_last(tmp_path: Path) -> None:
    write_job(tmp_path, 2.0, "seed=0")
    write_job(
        tmp_path, None, "seed=1", state=State.failed, error="no file\nsecond line", exit_code=3
    )
    write_job(tmp_path, 1.0, "seed=2")
    write_job(tmp_path, float("nan"), "seed=3")
    write_job(tmp_path, 0.5, "seed=4", state=State.pruned)
    board = leaderboard(tmp_path)
    assert [(row.rank, row.job) for row in board.rows][:2] == [(1, 2), (2, 0)]
    assert {row.job: row.rank for row in board.rows}[4] == 3  # stopped early: behind what ended
    assert {row.rank for row in board.rows if row.job in (1, 3)} == {None}
    assert [row.overrides for row in board.rows[:2]] == [{"seed": "2"}, {"seed": "0"}]
    page = markdown(board).splitlines()
    assert page[0] == "| # | job | val/loss | seed | step | seconds | state |"
    assert page[2] == "| 1 | 2 | 1.0000 | 2 | 5 | 1.5 | finished |"
    assert "failed: no file |" in "\n".join(page)


RECIPES = [
    ("optimizer.lr=3e-4",),
    ("experiment=dpo", "objective.beta=0.3", "architecture=gpt2", "data.path='数据/文 本.txt'"),
    ("architecture=bert", "objective=mlm", "architecture/mlp=swiglu", "architecture.mlp.ratio=3.0"),
    ("callback=[ema,early_stopping]", "callback.early_stopping.patience=5", "logger=[]"),
    ("sweep=lr", "optimizer.lr=0.002", "callback.asha.min_steps=7", "run='x'"),
    (
        "objective=sft", "data=mixture", "data/sources=[arithmetic,sorting]",
        "data.weights={arithmetic:1,sorting:2}", "data.sources.sorting.max_length=5",
    ),
    (
        "data=mixture", "+data@data.sources.ours=text", "data.sources.ours.path=good.txt",
        "+data@data.sources.docs=python_docs",
    ),
    ("debug=fast", "experiment=moe", "trainer.max_steps=9", "+trainer.val_every=3"),
]  # fmt: skip


@pytest.mark.parametrize("overrides", RECIPES, ids=lambda overrides: overrides[0])
def test_the_recipe_of_a_job_composes_to_the_config_of_the_job(
    overrides: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = composition.compose("train", overrides)
    (tmp_path / "conf/experiment").mkdir(parents=True)
    (tmp_path / "conf/experiment/mine.yaml").write_text(recipe("train", overrides, ["Purpose: x."]))
    alone = composition.compose("train", ["experiment=mine"])
    own, read = validate_experiment(job, overrides), validate_experiment(alone, ["experiment=mine"])
    assert read == replace(own, run=None)


def test_a_search_space_without_a_sweep_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "sweep=lr"]) == 2
    assert "which needs -m" in capsys.readouterr().err


@pytest.mark.slow
def test_the_same_command_runs_missing_jobs_and_records_failures(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "-m", *SMALL, 'data.path="good.txt","late.txt"', "seed=0,1", "run=many"]
    assert main(command) == 3
    sweep = place / "many"
    assert [one.state.value for one in read_jobs(sweep)] == ["finished"] * 2 + ["failed"] * 2
    assert "late.txt matches no file" in (sweep / "jobs/2.json").read_text()
    assert "failed jobs: 2, 3" in capsys.readouterr().err
    assert not (sweep / "2").exists()
    before = [(sweep / f"{k}/summary.json").stat().st_mtime_ns for k in (0, 1)]
    (place / "late.txt").write_text((place / "good.txt").read_text())
    assert main(command) == 0
    out = capsys.readouterr().out
    assert out.count("is finished; nothing to do.") == 2
    assert out.splitlines()[-1] == str(sweep)
    assert [(sweep / f"{k}/summary.json").stat().st_mtime_ns for k in (0, 1)] == before
    assert {one.state for one in read_jobs(sweep)} == {State.finished}
    board = json.loads((sweep / "leaderboard.json").read_text())
    assert [row["rank"] for row in board["rows"]] == [1, 2, 3, 4]
    assert main([*command[:-2], "seed=5,6", "run=many"]) == 2
    assert "seed: 0, now 5" in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_is_refused_with_a_length_that_its_jobs_have_passed_or_with_other_data(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "-m", *SMALL, "seed=0,1", "run=many"]
    assert main([*command, "trainer.max_steps=4"]) == 0
    files = [file for file in (place / "many").rglob("*") if file.is_file()]
    before = {file: file.read_bytes() for file in files}
    for length in ("trainer.max_steps=2", "trainer.max_epochs=0.01", "trainer.max_tokens=9"):
        capsys.readouterr()
        assert main([*command, length]) == 2
        assert "job 0 (seed=0): trainer.max_" in (shown := capsys.readouterr().err)
        assert "is at step 4" in shown
    (place / "good.txt").write_text((place / "good.txt").read_text() + "\n\nOne more.")
    assert main([*command, "trainer.max_steps=4"]) == 4
    assert "accept_changes=[data]" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in files} == before


@pytest.mark.slow
def test_a_search_resumes_prunes_and_writes_its_best_job_as_a_recipe(place: Path) -> None:
    search = [
        "train", "-m", *SMALL, "sweep=lr", "trainer.max_steps=6", "trainer.val_every=2",
        "callback.asha.min_steps=2", "run=many",
    ]  # fmt: skip
    assert main([*search, "hydra.sweeper.n_trials=3"]) == 0
    sweep = place / "many"
    first = (sweep / "0/summary.json").stat().st_mtime_ns
    assert main([*search, "hydra.sweeper.n_trials=5"]) == 0
    assert (sweep / "0/summary.json").stat().st_mtime_ns == first
    states = {one.job: one.state for one in read_jobs(sweep)}
    assert len(states) == 5
    assert states[0] is State.finished
    assert State.pruned in states.values()
    (pruned, *_) = (number for number, state in states.items() if state is State.pruned)
    assert json.loads((sweep / str(pruned) / "pruned.json").read_text())["step"] in (2, 4)
    best = json.loads((sweep / "leaderboard.json").read_text())["rows"][0]["job"]
    (place / "conf/experiment").mkdir(parents=True)
    (place / "conf/experiment/best.yaml").write_text((sweep / "best.yaml").read_text())
    alone = validate_experiment(composition.compose("train", ["experiment=best"]), [])
    stored = config_file.load_config(sweep / str(best))
    assert flat(replace(alone, run=stored.run)) == flat(stored)
    assert main([*search, "optimizer.lr=0.1,0.2", "hydra.sweeper.n_trials=9"]) == 2
    assert main([*search, "objective.z_loss=0.1", "hydra.sweeper.n_trials=9"]) == 2
    for n in (5, 7):
        assert main([*search, f"trainer.max_steps={n}", "hydra.sweeper.n_trials=9"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_jobs_in_separate_processes_equal_single_runs(launcher: str, place: Path) -> None:
    settings = ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    done = called("-m", f"hydra/launcher={launcher}", *settings, "seed=0,1", "run=many")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(place / "many")
    for seed in (0, 1):
        assert called(f"seed={seed}", f"run=alone{seed}").returncode == 0
        weights = "model/model.safetensors"
        job, alone = place / f"many/{seed}", place / f"alone{seed}"
        assert (job / weights).read_bytes() == (alone / weights).read_bytes()


def called(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a separate process."""
    command = [sys.executable, "-m", "etude", "train", *SMALL, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ})


RAISES = '''"""Fails in one job of a sweep."""

from dataclasses import dataclass

import lightning.pytorch as pl

from etude import plugin
from etude.config import CallbackConfig


@dataclass
class RaisesConfig(CallbackConfig):
    message: str = ""
    """Message of the error; empty = none is raised."""


@plugin(RaisesConfig)
class Raises(pl.Callback):
    """Raises in the first step."""

    def __init__(self, config: RaisesConfig) -> None:
        self.message = config.message

    def on_train_batch_start(self, *_: object) -> None:
        if self.message:
            raise IndexError(self.message)
'''


@pytest.mark.slow
def test_the_leaderboard_names_the_error_of_a_plugin_that_raised(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = place / "plugins/callback/raises.py"
    file.parent.mkdir(parents=True)
    file.write_text(RAISES)
    monkeypatch.setattr(etude.plugins, "__path__", etude.plugins.folders())
    swept = ("callback=[raises]", "callback.raises.message='',boom", "run=sweep")
    assert main(["train", "-m", *SMALL, *swept]) == 1
    assert "Traceback" in capsys.readouterr().err  # the whole of it
    page = (place / "sweep/leaderboard.md").read_text()
    assert "failed: IndexError: boom |" in page
    assert "Traceback" not in page
