"""A resumed study proposes the same trials, and distinguishes failed from finished jobs."""

import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from etude.config.composition import compose
from etude.config.schema.trainer import TrainerConfig
from etude.errors import ConfigError, MissingExtraError, NonFiniteError
from etude.experiments.job import JobRecord, State, read_jobs
from etude.experiments.search import distribution, search
from etude.experiments.search_space import (
    SearchSpace,
    chosen_sweeper,
    refuse_unsearchable,
    search_space,
)
from etude.files.seal import write_sealed
from hydra_plugins.etude_optuna import OptunaConfig, Sampler

SPACES = sorted((Path(__file__).parents[3] / "conf/sweep").glob("*.yaml"))
SPACE = ("a=interval(-1.0,1.0)", "b=interval(-1.0,1.0)")
Ends = Callable[[int, float], State]


def settings(folder: Path, sampler: Sampler, n_trials: int | None) -> DictConfig:
    """The settings that Hydra passes to a sweeper."""
    sweeper = OmegaConf.structured(OptunaConfig(sampler=sampler, n_trials=n_trials))
    hydra = {"job": {"config_name": "train"}, "sweep": {"dir": str(folder)}, "sweeper": sweeper}
    return OmegaConf.create({"hydra": hydra, "trainer": OmegaConf.structured(TrainerConfig())})


def finishes(number: int, value: float) -> State:
    return State.finished


def searched(
    folder: Path,
    n_trials: int | None = None,
    sampler: Sampler = Sampler.tpe,
    space: Sequence[str] = SPACE,
    ends: Ends = finishes,
) -> list[list[str]]:
    """Minimizes a^2 + b^2; returns the launched jobs with their numbers."""
    launched: list[list[str]] = []

    def launch(jobs: Sequence[Sequence[str]], first: int) -> None:
        for number, job in enumerate(jobs, start=first):
            launched.append([str(number), *job])
            value = sum(float(item.split("=")[1]) ** 2 for item in job)
            state = ends(number, value)
            code = NonFiniteError.exit_code if math.isinf(value) else 0
            JobRecord(number, list(job), state, code).save(folder)
            (folder / str(number)).mkdir(exist_ok=True)
            if state in (State.finished, State.pruned):
                line = {"step": 1, "val/loss": value}
                (folder / f"{number}/steps.jsonl").write_text(json.dumps(line) + "\n")
                summary = json.dumps({"metrics": line, "best": None})
                write_sealed(folder / f"{number}/summary.json", summary)

    search(settings(folder, sampler, n_trials), space, launch)
    return launched


@pytest.mark.parametrize("sampler", [Sampler.random, Sampler.tpe, Sampler.cmaes])
def test_a_resumed_study_proposes_the_same_trials_as_an_uninterrupted_one(
    sampler: Sampler, tmp_path: Path
) -> None:
    whole = searched(tmp_path / "whole", 12, sampler)
    assert len({tuple(job[1:]) for job in whole}) == 12
    parts = [searched(tmp_path / "parts", n, sampler) for n in (5, 11, 12)]
    assert [len(part) for part in parts] == [5, 6, 1]
    assert [job for part in parts for job in part] == whole


def test_tpe_finds_the_minimum(tmp_path: Path) -> None:
    jobs = searched(tmp_path, 30)
    distance = [max(abs(float(item.split("=")[1])) for item in job[1:]) for job in jobs]
    assert sum(distance[20:]) / 10 < sum(distance[:10]) / 10


def test_a_grid_runs_each_combination_once_in_order(tmp_path: Path) -> None:
    space = ("a=1,2", "b=range(0,3)")
    jobs = searched(tmp_path, None, Sampler.grid, space)
    assert [job[1:] for job in jobs] == [[f"a={a}", f"b={b}"] for a in (1, 2) for b in range(3)]
    assert searched(tmp_path, None, Sampler.grid, space) == []


def test_a_failed_job_runs_again_under_its_number_before_new_ones(tmp_path: Path) -> None:
    def fails(number: int, value: float) -> State:
        return State.failed if number == 1 else State.finished

    first = searched(tmp_path, 3, ends=fails)
    assert [job[0] for job in first] == ["0", "1", "2"]
    again = searched(tmp_path, 4)
    assert [job[0] for job in again] == ["1", "3"]
    assert again[0] == first[1]
    assert searched(tmp_path, 4) == []


def test_pruned_and_diverged_jobs_count_as_complete(tmp_path: Path) -> None:
    def ends(number: int, value: float) -> State:
        return State.failed if math.isinf(value) else State.pruned

    space = ("a=choice(1,inf)",)
    assert len(searched(tmp_path, None, Sampler.grid, space, ends)) == 2
    assert searched(tmp_path, None, Sampler.grid, space, ends) == []
    assert [one.state for one in read_jobs(tmp_path)] == [State.pruned, State.failed]


def test_a_different_space_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    searched(tmp_path, 1)
    with pytest.raises(ConfigError, match="has a different search space: it varied a, b"):
        searched(tmp_path, 2, space=("a=interval(0.0,1.0)",))
    assert len(searched(tmp_path, 2, space=("a=interval(0.0,1.0)", SPACE[1]))) == 1


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("interval(1e-4,1e-2)", FloatDistribution(1e-4, 1e-2)),
        ("tag(log,interval(1e-4,1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("tag(log,int(interval(1,64)))", IntDistribution(1, 64, log=True)),
        ("range(2,9,3)", IntDistribution(2, 8, step=3)),
        ("range(0.5,1.5,0.5)", FloatDistribution(0.5, 1.0, step=0.5)),
        ("choice(bert,gpt2)", CategoricalDistribution(["bert", "gpt2"])),
        ("'a b',c", CategoricalDistribution(["'a b'", "c"])),
    ],
)
def test_hydra_sweeps_become_optuna_distributions(written: str, expected: object) -> None:
    (override,) = OverridesParser.create().parse_overrides([f"x={written}"])
    assert distribution(override) == expected


OPTUNA = "hydra/sweeper=optuna"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (OPTUNA, "no override varies"),
        (f"{OPTUNA} hydra.sweeper.sampler=grid optimizer.lr=interval(0,1)", "cannot enumerate"),
        (f"{OPTUNA} hydra.sweeper.sampler=cmaes optimizer.lr=interval(0,1)", "at least two"),
        (f"{OPTUNA} hydra.sweeper.sampler=cmaes seed=1,2 data.seq_len=8,9", "at least two"),
        ("optimizer.lr=interval(0,1)", "an interval needs a sampler"),
        ("sweep=lr,seeds", "choose one"),
    ],
)
def test_an_invalid_search_is_refused(given: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        space_of(*given.split())


def test_a_missing_library_is_reported_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"etude\[sweep\]"):
        space_of("sweep=lr")


@pytest.mark.parametrize("launcher", ["joblib", "submitit_slurm"])
def test_a_missing_launcher_is_reported_with_its_extra(
    launcher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = launcher.partition("_")[0]
    monkeypatch.setitem(sys.modules, f"hydra_plugins.hydra_{extra}_launcher", None)
    with pytest.raises(MissingExtraError, match=rf"etude\[{extra}\]"):
        space_of(f"hydra/launcher={launcher}", "seed=0,1")


def space_of(*overrides: str) -> SearchSpace:
    chosen = chosen_sweeper("train", overrides)
    space = search_space("train", overrides, chosen)
    refuse_unsearchable(space, chosen)
    return space


def test_the_command_line_overrides_the_search_space_file() -> None:
    assert list(space_of("sweep=lr", "seed=range(0,2)").swept) == ["optimizer.lr", "seed"]
    narrow = space_of("sweep=lr", "optimizer.lr=interval(0.5,1.0)").swept["optimizer.lr"].value()
    assert narrow == IntervalSweep(start=0.5, end=1.0)
    fixed = space_of("sweep=lr", "optimizer.lr=0.5", "seed=range(0,2)")
    assert list(fixed.swept) == ["seed"]
    assert "optimizer.lr=0.5" in fixed.fixed


@pytest.mark.parametrize("file", SPACES, ids=lambda file: file.stem)
def test_shipped_search_spaces_vary_keys_that_exist(file: Path) -> None:
    overrides = (f"sweep={file.stem}",)
    space = search_space("train", overrides, chosen_sweeper("train", overrides))
    assert space.swept or file.stem == "mixture"  # varies the weights of the mixture that it gets
    for corner in space.corners():
        compose("train", corner)
