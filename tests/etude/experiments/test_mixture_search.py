"""`sweep=mixture` fits the law of its trials, runs its optimum, and resumes."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf

from etude.cli.main import main
from etude.config.composition import compose
from etude.errors import ConfigError
from etude.experiments.job import JobRecord, State, read_jobs
from etude.experiments.mixing_law import MixingLaw
from etude.experiments.mixture_search import KEY, MixtureSearch, mixture_search, search
from etude.files.seal import write_sealed
from hydra_plugins.etude_mixture import MixtureSweepConfig

SOURCES = ("arithmetic", "sorting", "character_names")
MIXTURE = ("objective=sft", "data=mixture", f"data/sources=[{','.join(SOURCES)}]")
LAW = MixingLaw(np.array([1.0, 0.5, 2.0]), np.array([[-2.0, 0, 0.5], [0, -1, 0.5], [1, 0, -1]]))


def found(*overrides: str, **settings: object) -> MixtureSearch:
    chosen = OmegaConf.structured(MixtureSweepConfig(**settings))  # pyright: ignore[reportArgumentType]
    fixed = [one for one in (*MIXTURE, *overrides) if not one.startswith("seed=")]
    return mixture_search(
        "train", [*MIXTURE, *overrides], chosen, compose("train", fixed).config.data
    )


def numbers(weights: str) -> dict[str, float]:
    """The weights of `{a:0.25,b:0.75}`."""
    return {name: float(value) for name, value in re.findall(r"(\w+):([\d.]+)", weights)}


def searched(
    folder: Path, *overrides: str, failing: int | None = None, without: str = "", **settings: object
) -> list[tuple[int, str]]:
    """Searches with losses of the planted law; returns the weights of each launched job."""
    launched: list[tuple[int, str]] = []

    def launch(jobs: Sequence[Sequence[str]], first: int) -> None:
        for number, job in enumerate(jobs, start=first):
            weights = next(item for item in job if item.startswith(KEY)).partition("=")[2]
            launched.append((number, weights))
            JobRecord(number, list(job), State.finished).save(folder)
            if number == failing:
                JobRecord(number, list(job), State.failed).save(folder)
            losses = LAW.losses(np.array([*numbers(weights).values()]))
            metrics = {f"val/{s}/loss": x for s, x in zip(SOURCES, losses, strict=True)}
            metrics.pop(without, None)
            (folder / str(number)).mkdir(exist_ok=True)
            text = json.dumps({"metrics": metrics, "best": None})
            write_sealed(folder / f"{number}/summary.json", text)

    chosen = OmegaConf.structured(MixtureSweepConfig(**settings))  # pyright: ignore[reportArgumentType]
    hydra = {"job": {"config_name": "train"}, "sweep": {"dir": str(folder)}, "sweeper": chosen}
    data = compose("train", MIXTURE).config.data
    search(DictConfig({"hydra": hydra, "data": data}), [*MIXTURE, *overrides], launch)
    return launched


def test_the_last_job_is_the_optimum_of_the_law_and_becomes_a_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = searched(tmp_path)
    assert [number for number, _ in jobs] == list(range(9))
    expected = LAW.optimum(np.full(3, 1 / 3), 0.2)
    optimum = numbers(jobs[-1][1])
    assert [*optimum.values()] == pytest.approx(expected, abs=1e-3)
    page = (tmp_path / "mixture.md").read_text(encoding="utf-8")
    value = LAW.losses(expected).mean()
    assert f"there: {value:.4f} predicted, {value:.4f} measured." in page
    assert f"`{KEY}={jobs[-1][1]}`" in page
    rows = re.findall(r"^\| (\d+[^|]*) \|", page, re.MULTILINE)
    assert rows == [*map(str, range(8)), "8 (optimum)"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf/experiment").mkdir(parents=True)
    (tmp_path / "optimum.yaml").rename("conf/experiment/mine.yaml")
    data = compose("train", ["experiment=mine"]).config.data
    assert dict(data.weights) == optimum
    assert list(data.sources) == list(SOURCES)


def test_a_repeated_command_launches_the_same_jobs(tmp_path: Path) -> None:
    assert searched(tmp_path) == searched(tmp_path)


def test_more_trials_continue_the_list_and_seeds_repeat_each(tmp_path: Path) -> None:
    few = searched(tmp_path / "few", n_trials=6)
    many = searched(tmp_path / "many", "seed=5,6", n_trials=7)
    assert [one for _, one in many[:12:2]] == [one for _, one in few[:6]]
    assert [one for _, one in many[::2]] == [one for _, one in many[1::2]]
    seeds = [one.overrides[-1] for one in read_jobs(tmp_path / "many")]
    assert seeds == ["seed=5", "seed=6"] * 8
    page = (tmp_path / "many/mixture.md").read_text(encoding="utf-8")
    assert page.count("(optimum)") == 2


def test_targets_are_weights_of_the_losses(tmp_path: Path) -> None:
    jobs = searched(tmp_path, targets={"sorting": 3.0, "arithmetic": 1.0})
    optimum = [*numbers(jobs[-1][1]).values()]
    assert optimum == pytest.approx(LAW.optimum(np.array([0.25, 0.75, 0]), 0.2), abs=1e-3)
    assert "0.25 arithmetic + 0.75 sorting" in (tmp_path / "mixture.md").read_text("utf-8")


def test_other_targets_add_a_job_at_their_optimum_to_the_same_trials(tmp_path: Path) -> None:
    first = searched(tmp_path)
    other = searched(tmp_path, targets={"sorting": 1.0})
    assert other[:8] == first[:8]
    assert [number for number, _ in other[8:]] == [9]
    assert "| 9 (optimum) |" in (tmp_path / "mixture.md").read_text(encoding="utf-8")
    assert searched(tmp_path) == first


def test_a_failed_trial_leaves_the_optimum_to_a_repeated_command(tmp_path: Path) -> None:
    assert len(searched(tmp_path, failing=3)) == 8
    assert not (tmp_path / "mixture.md").exists()
    assert len(searched(tmp_path)) == 9


def test_the_page_shows_the_prediction_if_its_check_failed(tmp_path: Path) -> None:
    searched(tmp_path, failing=8)
    page = (tmp_path / "mixture.md").read_text(encoding="utf-8")
    assert "predicted; its run failed" in page


def test_a_source_without_a_loss_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Job 0 did not report val/sorting/loss"):
        searched(tmp_path, without="val/sorting/loss")


@pytest.mark.parametrize(
    ("overrides", "settings", "message"),
    [
        ((), {"n_trials": 3}, "n_trials=3 is too few: the law of each loss has 4 unknowns"),
        ((), {"targets": {"sort": 1.0}}, "some of the sources"),
        ((), {"targets": {"sorting": -1.0}}, "must be numbers of 0 or more"),
        ((), {"equal_share": 1.0}, r"must be in \[0, 1\), got 1.0"),
        (("data.weights={arithmetic:1,sorting:1,character_names:2}",), {}, "varies data.weights"),
        (("data.budgets={sorting:100}",), {}, "data.budgets"),
    ],
)
def test_an_invalid_search_is_refused(
    overrides: tuple[str, ...], settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        found(*overrides, **settings)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("objective=sft data=arithmetic", "searches the weights of data=mixture"),
        (" ".join(MIXTURE) + " optimizer.lr=1e-3,1e-4", "only seed besides it"),
        (" ".join(MIXTURE) + " hydra.sweeper.n_trials=2", "is too few"),
        (" ".join(MIXTURE) + " hydra.sweeper.targets={sort:1}", "some of the sources"),
    ],
)
def test_the_command_refuses_an_invalid_search_before_the_first_job(
    overrides: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "-m", "sweep=mixture", *overrides.split()]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_one_command_runs_the_trials_and_the_optimum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    small = (
        "architecture.dim=16", "architecture.n_layers=1", "architecture.n_heads=2",
        "data.seq_len=64", "trainer.global_batch=8", "trainer.max_steps=1",
        "trainer.val_samples=30", "trainer.accelerator=cpu", "logger=[]", "tokenizer=byte",
        "objective.max_new_tokens=2", "data/sources=[arithmetic,sorting]",
    )  # fmt: skip
    command = ["train", "-m", "sweep=mixture", *MIXTURE[:2], *small, "run=mix"]
    command.append("hydra.sweeper.n_trials=3")
    assert main(command) == 0
    assert [one.state for one in read_jobs(tmp_path / "mix")] == [State.finished] * 4
    page = (tmp_path / "mix/mixture.md").read_text(encoding="utf-8")
    out = capsys.readouterr().out
    assert page in out
    assert out.splitlines()[-1] == str(tmp_path / "mix")
    assert main(command) == 0
    assert (tmp_path / "mix/mixture.md").read_text(encoding="utf-8") == page
    assert capsys.readouterr().out.count("is finished; nothing to do.") == 4
