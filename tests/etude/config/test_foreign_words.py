"""Habits of other Hydra projects work where they make sense; else the error says our word."""

from collections.abc import Callable
from pathlib import Path

import pytest

from etude.cli.main import main
from etude.config.command_line import prepare
from etude.config.composition import compose, print_if_requested
from etude.config.plugin_files import CONFIG_DIR

RECIPE = "# @package _global_\n# Mine.\ndefaults:\n  - override /objective: mlm\n{}seed: 7\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a recipe and, elsewhere, another folder of configs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CONFIG_DIR, "")
    for place, name in (("conf", "mine"), ("elsewhere", "other")):
        file = tmp_path / place / "experiment" / f"{name}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(RECIPE.format(""), encoding="utf-8")
    return tmp_path


def config(*arguments: str) -> object:
    return compose("train", prepare([*arguments, "architecture=bert"]).overrides).config


@pytest.mark.parametrize(
    ("argument", "ours"),
    [
        ("trainer=ddp", "strategy=ddp trainer.devices=2"),
        ("trainer=gpu", "trainer.accelerator=gpu"),
        ("trainer=default", "etude show trainer"),
        ("ckpt_path=runs/a", "run=<folder> resumes a run; init_from=<folder>"),
        ("hparams_search=mnist_optuna", "-m sweep="),
        ("test=True", "trainer.val_every"),
        ("train=False", "trainer.val_every"),
        ("model=bert", "architecture=<option>"),
        ("datamodule=mnist", "data=<option>"),
        ("callbacks=default", "callback=[<option>]"),
        ("task_name=a", "run=<folder>"),
        ("extras.print_config=False", "--cfg job"),
        ("paths.root_dir=x", "run=<folder>"),
        ("optimized_metric=val/acc", "trainer.keep_best=<metric>"),
        ("data.batch_size=4", "trainer.global_batch"),
        ("+trainer.fast_dev_run=true", "debug=fast"),
        ("trainer.gradient_clip_val=1", "trainer.clip"),
        ("trainer.gpus=2", "trainer.devices"),
        ("trainer.strategy=ddp", "Did you mean strategy?"),
        ("tags=a", "tags must be a list: write tags=[...]."),
        ("tags=a,b", "write tags=[a,b]"),
        ("--config-name=mine", "conf/train.yaml"),
        ("-cn", "conf/experiment/"),
        ("--config-path=mine", "--config-dir=<folder>"),
        ("--config-dir=nowhere", "--config-dir=nowhere is not a folder."),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_word_of_another_project_is_answered_with_ours(
    argument: str, ours: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", argument, "trainer.max_steps=3"]) == 2
    shown = capsys.readouterr().err
    assert ours in shown
    assert shown.startswith(argument.lstrip("+").partition("=")[0].partition(".")[0])


@pytest.mark.usefixtures("folder")
def test_a_plus_before_a_group_and_a_tilde_before_a_list_of_plugins_change_nothing() -> None:
    assert config("+experiment=mine") == config("experiment=mine")
    assert config("++objective=mlm") == config("objective=mlm")
    assert config("~callback", "~logger") == config("callback=[]", "logger=[]")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("none", ["template=null", "~template"])
def test_a_group_of_which_one_or_none_is_chosen_is_unset(none: str) -> None:
    assert config("template=chatml") != config()
    assert config("template=chatml", none) == config(none) == config()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("flag", [["--config-dir", "elsewhere"], ["--config-dir=elsewhere"]])
def test_another_folder_of_configs_has_recipes_too(
    flag: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--cfg", "job", *flag, "+experiment=other"]) == 0
    assert "seed: 7" in capsys.readouterr().out


@pytest.mark.parametrize(
    "defaults",
    [
        "  - override /objective: mlm\n  - override /architecture: bert\n",
        "  - _self_\n  - objective: mlm\n  - architecture: bert\n",
        "  - train\n  - objective: mlm\n  - architecture: bert\n  - _self_\n",
    ],
)
def test_a_folder_has_defaults_of_its_own_below_recipes_and_the_command_line(
    folder: Path, defaults: str
) -> None:
    text = f"defaults:\n{defaults}trainer:\n  max_steps: 5\nseed: 3\n"
    (folder / "conf/train.yaml").write_text(text, encoding="utf-8")
    own = compose("train", prepare([]).overrides)
    assert (own.choices["objective"], own.choices["architecture"]) == ("mlm", "bert")
    assert (own.config.seed, own.config.trainer.max_steps) == (3, 5)
    assert own.config.optimizer.lr == compose("train", ["objective=mlm"]).config.optimizer.lr
    assert compose("train", prepare(["seed=4"]).overrides).config.seed == 4
    recipe = compose("train", prepare(["experiment=mine"]).overrides)
    assert (recipe.config.seed, recipe.config.trainer.max_steps) == (7, 5)
    clm = compose("train", prepare(["objective=clm", "architecture=gpt2"]).overrides)
    assert clm.choices["objective"] == "clm"


def test_a_wrong_key_in_the_defaults_of_a_folder_names_the_key(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "conf/train.yaml").write_text("trainer:\n  max_step: 5\n", encoding="utf-8")
    assert main(["train", "--cfg", "job"]) == 2
    assert "trainer.max_step" in capsys.readouterr().err


def test_a_plugin_folder_brings_presets_and_recipes(
    more_plugins: Callable[[str, str], Path],
) -> None:
    preset = more_plugins("objective/toy_unused", "").parents[1] / "conf/architecture/wide.yaml"
    preset.parent.mkdir(parents=True)
    preset.write_text("# Wide.\ndefaults:\n  - toy_stack\n  - _self_\ndim: 512\n", encoding="utf-8")
    choices = (
        "tokenizer=toy",
        "optimizer=toy",
        "schedule=toy",
        "strategy=toy",
        "decoding=toy",
        "generator=toy",
    )
    made = compose("train", [*choices, "objective=toy_next", "architecture=wide", "logger=[]"])
    assert made.config.architecture.dim == 512


@pytest.mark.usefixtures("folder")
def test_a_printed_config_says_what_it_is_a_config_of(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--cfg", "job", "experiment=mine", "architecture=bert", "objective/masking=span"]
    assert print_if_requested("train", prepare(arguments))
    lines = capsys.readouterr().out.splitlines()
    for line in (
        "# experiment=mine", "# objective=mlm", "# objective/masking=span", "# data=python_docs",
        "# architecture=bert (a preset of encoder_only)", "# tokenizer=bpe", "# optimizer=adamw",
    ):  # fmt: skip
        assert line in lines
