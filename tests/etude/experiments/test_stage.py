"""A stage is run again when anything that makes it what it is has changed, and says what."""

import json
import shutil
from collections.abc import Callable
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny

from etude.experiments import stage as stages
from etude.experiments.stage import Stage, core_digests, reasons, seal
from etude.files.run_folder import CONFIG
from etude.training.run import start


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of two stages, the second upon the first."""
    place = tmp_path_factory.mktemp("stages")
    with chdir(place):
        for name, parent in (("base", None), ("more", "base")):
            config = tiny.experiment("clm", Path(), trainer={"max_steps": 2, "val_samples": 2})
            start(replace(config, run=name, init_from=parent), "tiny", [])
    return place


@pytest.fixture
def chain(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Stage]:
    """A copy of it, stamped."""
    place = tmp_path / "chain"
    shutil.copytree(made, place)
    shutil.move(place / "lines.txt", tmp_path)
    monkeypatch.chdir(tmp_path)
    both = [
        Stage(name, place / name, ["train", "data.path=lines.txt", *given, f"run={name}"], parents)
        for name, given, parents in (
            ("base", [], []),
            ("more", [f"init_from={place / 'base'}"], ["base"]),
        )
    ]
    for one in both:
        assert reasons(one, both) is None
        seal(one, both, core_digests())
    return both


def edit(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_nothing_changed_is_nothing_to_do(chain: list[Stage]) -> None:
    assert [reasons(one, chain) for one in chain] == [[], []]
    stamp = json.loads(chain[1].stamp.read_text())
    assert {"objective/clm", "optimizer/adamw"} <= stamp["plugins"].keys()
    core = set(stamp["core"])
    assert {"training.run", "objective.objective", "objective.loader", "objective.loss"} <= core
    assert not {"experiments.lineage", "cli.main", "config.hydra_errors"} & core


def test_another_command_is_told_by_what_differs(chain: list[Stage]) -> None:
    other = replace(chain[0], command=["train", "data.path=lines.txt", "seed=1", "run=base"])
    assert reasons(other, [other, chain[1]]) == ["its command was without it, is seed=1"]


def test_a_file_that_it_reads_counts(chain: list[Stage]) -> None:
    Path("lines.txt").write_text("something else\n")
    assert reasons(chain[0], chain) == ["lines.txt has other content"]


def test_another_result_below_counts_and_the_same_result_does_not(chain: list[Stage]) -> None:
    base, more = chain
    edit(base.stamp, lambda stamp: stamp.update(core={}))  # it was run again, and gave the same
    assert reasons(more, chain) == []
    edit(base.folder / "model/manifest.json", lambda manifest: manifest.update(facts={}))
    assert reasons(more, chain) == ["base, on which it stands, gives another result"]
    assert reasons(base, chain) == ["its result is gone, or is not what it gave"]


def test_code_counts_and_what_is_said_about_it_does_not(
    chain: list[Stage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(stages.CORE, tmp_path / "core", ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr(stages, "CORE", tmp_path / "core")
    loss = tmp_path / "core/objective/loss.py"
    loss.write_text('"""Something else."""\n' + loss.read_text().replace("\n\n", "\n# said\n\n"))
    (tmp_path / "core/experiments/lineage.py").write_text("changed = True\n")
    assert reasons(chain[0], chain) == []
    loss.write_text(loss.read_text() + "more = 1\n")
    assert reasons(chain[0], chain) == ["etude.objective.loss has other code"]


def test_a_plugin_that_changed_or_went_is_named(chain: list[Stage]) -> None:
    edit(chain[0].stamp, lambda stamp: stamp["plugins"].update({"optimizer/adamw": "0"}))
    edit(chain[0].stamp, lambda stamp: stamp["plugins"].update({"optimizer/gone": "0"}))
    assert reasons(chain[0], chain) == [
        "the plugin optimizer/adamw has other code",
        "the plugin optimizer/gone has other code",
    ]
    assert (chain[0].folder / CONFIG).exists()
