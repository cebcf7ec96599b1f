"""A stage runs again if anything it depends on has changed, and reports the change."""

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
from etude.experiments.stage import Stage, core_digests, reasons, write_stamp
from etude.files.run_folder import CONFIG
from etude.training.run import start


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of two stages; the second depends on the first."""
    place = tmp_path_factory.mktemp("stages")
    with chdir(place):
        for name, parent in (("base", None), ("more", "base")):
            config = tiny.experiment("clm", Path(), trainer={"max_steps": 2, "val_samples": 2})
            start(replace(config, run=name, init_from=parent), "tiny", [])
    return place


@pytest.fixture
def chain(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Stage]:
    """A copy, recorded as finished."""
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
        write_stamp(one, both, core_digests())
    return both


def edit(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_an_unchanged_stage_has_no_reason_to_run_again(chain: list[Stage]) -> None:
    assert [reasons(one, chain) for one in chain] == [[], []]
    stamp = json.loads(chain[1].stamp.read_text())
    assert {"objective/clm", "optimizer/adamw"} <= stamp["plugins"].keys()
    core = set(stamp["core"])
    assert {"training.run", "objective.objective", "objective.loader", "objective.loss"} <= core
    assert not {"experiments.lineage", "cli.main", "config.hydra_errors"} & core


def test_a_changed_command_is_reported_by_its_difference(chain: list[Stage]) -> None:
    other = replace(chain[0], command=["train", "data.path=lines.txt", "seed=1", "run=base"])
    assert reasons(other, [other, chain[1]]) == ["its command was without it, is seed=1"]


def test_a_changed_input_file_is_a_reason(chain: list[Stage]) -> None:
    Path("lines.txt").write_text("something else\n")
    assert reasons(chain[0], chain) == ["lines.txt has different content"]


@pytest.mark.parametrize("file", ["config.json", "chat_template.jinja", "tokenizer/tokenizer.json"])
def test_a_changed_tokenizer_or_config_of_a_model_is_a_reason(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = Path("theirs/model/manifest.json")
    place = Path("theirs", file)
    for made in (place, *([result] if "/" in file else [])):  # a foreign folder, or a run
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text("{}")
    one = Stage("more", tmp_path / "chain/more", ["train", "init_from=theirs", "run=more"], [])
    before = stages._inputs(one)
    place.write_text('{"a": 1}')
    assert stages._inputs(one) != before


@pytest.mark.parametrize("path", ["texts", "texts/*/*.txt", "link/**/*.txt"])
def test_a_changed_file_behind_a_pattern_or_a_link_is_a_reason(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("texts", "elsewhere", "texts/.hidden"):
        Path(folder).mkdir()
    Path("texts/linked").symlink_to("../elsewhere")
    Path("link").symlink_to("texts")
    read, hidden = Path("elsewhere/a.txt"), Path("texts/.hidden/a.txt")
    stage = Stage("base", tmp_path / "chain" / "base", ["train", f"data.path={path}", "run=x"], [])

    def digests(text: str, unread: str) -> stages.Digests:
        read.write_text(text)
        hidden.write_text(unread)
        return stages._inputs(stage)

    assert digests("one", "a") == digests("one", "b") != digests("two", "b")


def test_a_changed_result_of_a_parent_is_a_reason_and_an_equal_one_is_not(
    chain: list[Stage],
) -> None:
    base, more = chain
    edit(base.stamp, lambda stamp: stamp.update(core={}))  # it was run again, and gave the same
    assert reasons(more, chain) == []
    edit(base.folder / "model/manifest.json", lambda manifest: manifest.update(facts={}))
    assert reasons(more, chain) == ["the result of base, on which it depends, has changed"]
    assert reasons(base, chain) == ["its result is missing or has changed"]


def test_changed_code_is_a_reason_and_changed_comments_are_not(
    chain: list[Stage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(stages.CORE, tmp_path / "core", ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr(stages, "CORE", tmp_path / "core")
    loss = tmp_path / "core/objective/loss.py"
    loss.write_text('"""Something else."""\n' + loss.read_text().replace("\n\n", "\n# said\n\n"))
    (tmp_path / "core/experiments/lineage.py").write_text("changed = True\n")
    assert reasons(chain[0], chain) == []
    loss.write_text(loss.read_text() + "more = 1\n")
    assert reasons(chain[0], chain) == ["etude.objective.loss has different code"]


def test_a_changed_or_missing_plugin_is_named(chain: list[Stage]) -> None:
    edit(chain[0].stamp, lambda stamp: stamp["plugins"].update({"optimizer/adamw": "0"}))
    edit(chain[0].stamp, lambda stamp: stamp["plugins"].update({"optimizer/gone": "0"}))
    assert reasons(chain[0], chain) == [
        "the plugin optimizer/adamw has different code",
        "the plugin optimizer/gone has different code",
    ]
    assert (chain[0].folder / CONFIG).exists()
