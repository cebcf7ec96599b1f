import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from damages import all_files

from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.trainer import NonFinite
from etude.errors import CheckpointError, ConfigError, page
from etude.files.run_folder import step_lines, untimed_steps
from etude.formats.checkpoint import newest_intact
from etude.formats.state_tree import read_tree
from etude.training.checkpoint_io import TreeCheckpointIO
from etude.training.continuation import flat, resumed_config
from etude.training.length import Epoch
from etude.training.resume import Resumption, length_changes
from etude.training.run import start
from etude.training.run_writer import RunWriter


@pytest.fixture
def stored(tmp_path: Path) -> ExperimentConfig:
    return tiny.experiment("clm", tmp_path)


def with_trainer(config: ExperimentConfig, **values: int | None) -> ExperimentConfig:
    return replace(config, trainer=replace(config.trainer, **values))


def test_run_lengths_may_change_if_overridden(stored: ExperimentConfig) -> None:
    config = with_trainer(stored, max_steps=50, max_epochs=None)
    assert resumed_config(stored, config, ["trainer.max_steps=50"]).trainer.max_steps == 50
    assert resumed_config(stored, config, ["run=x"]) == stored  # a default may change


def test_a_run_may_resume_with_another_policy_for_numbers_that_are_not_finite(
    stored: ExperimentConfig,
) -> None:
    config = replace(stored, trainer=replace(stored.trainer, non_finite=NonFinite.skip))
    resumed = resumed_config(stored, config, ["trainer.non_finite=skip"])
    assert resumed.trainer.non_finite is NonFinite.skip
    (change,) = length_changes(Resumption(stored, resumed, [], False), Epoch(10, None), 3)
    assert (change.what, change.was, change.now) == ("trainer.non_finite", "stop", "skip")


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("trainer.global_batch=16", r"trainer\.global_batch: 8, now 16"),
        ("+trainer.global_batch=16", r"trainer\.global_batch: 8, now 16"),
        ("experiment=other", r"trainer\.global_batch: 8, now 16"),
    ],
)
def test_any_other_change_is_refused_with_its_key(
    stored: ExperimentConfig, override: str, key: str
) -> None:
    with pytest.raises(ConfigError, match=key):
        resumed_config(stored, with_trainer(stored, global_batch=16), [override])


def test_a_different_plugin_is_refused_with_its_group(stored: ExperimentConfig) -> None:
    other = replace(stored, schedule=tiny.part("schedule", "linear"))
    with pytest.raises(ConfigError, match="schedule: schedule/cosine, now schedule/linear"):
        resumed_config(stored, other, ["schedule=linear"])
    mlp = replace(stored, architecture=tiny.stack(n_layers=1, mlp="relu"))
    with pytest.raises(ConfigError, match=r"architecture\.mlp: architecture/mlp/gelu, now"):
        resumed_config(stored, mlp, ["architecture/mlp=relu"])


def test_the_same_command_is_accepted_again(stored: ExperimentConfig) -> None:
    overrides = ["objective=clm", "trainer.global_batch=8", "optimizer.lr=1e-3", "run=x"]
    assert resumed_config(stored, replace(stored, run="x"), overrides) == stored


def test_flat_contains_every_value_and_every_plugin(stored: ExperimentConfig) -> None:
    found = flat(stored)
    assert found["architecture"] == "architecture/decoder_only"
    assert found["architecture.mlp"] == "architecture/mlp/gelu"
    assert found["architecture.mlp.ratio"] == 4.0
    assert found["seed"] == 0


def stopped(folder: Path, *, save_every: int) -> ExperimentConfig:
    """A run that Ctrl-C stopped after three of five steps."""
    config = tiny.experiment("clm", folder, trainer={"save_every": save_every})
    config = replace(config, run=str(folder / "run"))
    with pytest.MonkeyPatch.context() as patch:
        write = RunWriter._write

        def fail(writer: RunWriter, line: dict[str, Any]) -> None:
            write(writer, line)
            if line["step"] == 3:
                raise KeyboardInterrupt

        patch.setattr(RunWriter, "_write", fail)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            start(config, "tiny", [])
    return config


@pytest.mark.parametrize("remains", [True, False], ids=["empty", "removed"])
def test_a_run_that_lost_its_checkpoints_is_refused_and_not_touched(
    remains: bool, tmp_path: Path
) -> None:
    config = stopped(tmp_path, save_every=1)
    run = tmp_path / "run"
    shutil.rmtree(run / "checkpoints")
    if remains:
        (run / "checkpoints").mkdir()
    before = {file: file.read_bytes() for file in all_files(run)}
    with pytest.raises(CheckpointError, match=r"saved a checkpoint of step 2, but .*has none"):
        start(config, "tiny", [])
    assert {file: file.read_bytes() for file in all_files(run)} == before


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = stopped(tmp_path, save_every=5)
    run = tmp_path / "run"
    assert len(step_lines(run)) == 3
    start(config, "tiny", [])
    assert "stopped before its first checkpoint: it starts again" in capfd.readouterr().err
    whole = replace(config, run=str(tmp_path / "whole"))
    start(whole, "tiny", [])
    assert untimed_steps(run) == untimed_steps(tmp_path / "whole")


@pytest.mark.parametrize(
    "name",
    [
        "steps.jsonl", "config.yaml", "seal.json", ".lock", "checkpoints", "tokenizer", "model",
        "best", "changes.jsonl", "checkpoints/step-000000009",
    ],
)  # fmt: skip
def test_a_link_out_of_the_run_folder_is_refused_and_what_it_leads_to_stays(
    name: str, tmp_path: Path
) -> None:
    config = stopped(tmp_path, save_every=1)
    link, other = tmp_path / "run" / name, tmp_path / "other"
    if link.exists():
        link.rename(other)
    else:
        other.write_text("of somebody else")
    link.symlink_to(other)
    before = {file: file.read_bytes() for file in all_files(tmp_path)}
    with pytest.raises(CheckpointError, match="is a link out of the run folder"):
        start(config, "tiny", [])
    assert {file: file.read_bytes() for file in all_files(tmp_path)} == before


def test_a_run_folder_may_be_a_link_and_have_links_inside(tmp_path: Path) -> None:
    config = stopped(tmp_path, save_every=1)
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "run/newest").symlink_to("checkpoints/step-000000003")
    start(config, "tiny", [])
    assert len(step_lines(tmp_path / "run")) == 5


def first_group(tree: Any) -> Any:
    return tree["optimizer_states"][0]["param_groups"]


TAMPERED: dict[str, Callable[[Any], object]] = {
    "no groups": lambda tree: first_group(tree).clear(),
    "a group too many": lambda tree: first_group(tree).append({}),
    "a group of another size": lambda tree: first_group(tree)[0]["params"].pop(),
    "a group that is a list": lambda tree: first_group(tree).__setitem__(0, [1]),
    "optimizers that are a number": lambda tree: tree.update(optimizer_states=7),
    "no optimizers": lambda tree: tree.pop("optimizer_states"),
    "no weights": lambda tree: tree["state_dict"].clear(),
    "weights of another shape": lambda tree: tree["state_dict"].update(
        {name: tensor[:1] for name, tensor in tree["state_dict"].items()}
    ),
    "callbacks that are a list": lambda tree: tree.update(callbacks=[1]),
    "callbacks without a state": lambda tree: tree.update(
        callbacks=dict.fromkeys(tree["callbacks"], 3)
    ),
    "loops that are a text": lambda tree: tree.update(loops="x"),
    "no version": lambda tree: tree.pop("pytorch-lightning_version"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_checkpoint_that_does_not_fit_the_run_is_an_error_that_names_it(
    name: str, tmp_path: Path
) -> None:
    config = stopped(tmp_path, save_every=1)
    newest = newest_intact(tmp_path / "run/checkpoints")
    assert newest is not None
    tree = read_tree(newest)
    TAMPERED[name](tree)
    TreeCheckpointIO().save_checkpoint(tree, newest)
    with pytest.raises(CheckpointError, match=newest.name) as refusal:
        start(config, "tiny", [])
    assert len(page(refusal.value)) < 1000
