"""A run resumes with the inputs that it was started with, unless their change is accepted."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny

import etude.plugins
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.trainer import Input
from etude.data.tokenizer import Tokenizer
from etude.errors import CheckpointError
from etude.files.run_folder import read_summary
from etude.training import run as run_module
from etude.training.inputs import read_changes
from etude.training.run import start

LONGER = ("trainer.max_steps=3",)
DIGESTS = r"was \w{12}, is \w{12}"


def trained(config: ExperimentConfig, folder: Path) -> ExperimentConfig:
    """Trains two steps in a folder; returns the config."""
    trainer = replace(config.trainer, max_steps=2, precision="32", val_samples=2)
    config = replace(config, run=str(folder / "run"), trainer=trainer)
    start(config, "tiny", [])
    return config


def extend(config: ExperimentConfig, *accepted: Input) -> Path:
    """Trains it for a third step."""
    trainer = replace(config.trainer, max_steps=3, accept_changes=[*accepted])
    keys = [*LONGER, "trainer.accept_changes=[...]"]
    return start(replace(config, trainer=trainer), "tiny", keys)


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file of a folder except the lock."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != ".lock"]
    return {file: file.read_bytes() for file in files}


def assert_refused(config: ExperimentConfig, message: str, *accepted: Input) -> None:
    """A longer and the same command are refused, and no file of the run changes."""
    folder = Path(str(config.run))
    before = contents(folder)
    for again in (lambda: extend(config, *accepted), lambda: start(config, "tiny", [])):
        with pytest.raises(CheckpointError, match=message):
            again()
        assert contents(folder) == before
        if accepted:
            return


@pytest.mark.parametrize("tokenizer", ["bpe", "byte"])
@pytest.mark.parametrize("finished", [True, False])
def test_changed_data_is_refused_before_anything_changes(
    tokenizer: str, finished: bool, tmp_path: Path
) -> None:
    config = tiny.experiment("clm", tmp_path)
    config = trained(replace(config, tokenizer=tiny.part("tokenizer", tokenizer)), tmp_path)
    if not finished:
        (tmp_path / "run/summary.json").unlink()
    with (tmp_path / "lines.txt").open("a") as file:
        file.write("Two more lines,\nwith new words: quizzical jackdaws.\n" * 9)
    assert_refused(config, rf"data \(.*lines.txt, .*\): {DIGESTS}[^$]*accept_changes=\[data\]")
    assert_refused(config, r"lines.txt, .*\): was", Input.plugins, Input.parents)


def test_accepted_data_is_recorded_and_the_tokenizer_stays(tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path)
    config = trained(replace(config, tokenizer=tiny.part("tokenizer", "bpe")), tmp_path)
    folder = tmp_path / "run"
    tokenizer = contents(folder / "tokenizer")
    was = json.loads((folder / "data_card.json").read_text())["digest"]
    (tmp_path / "lines.txt").write_text("".join(f"{i} other words {i * i}\n" for i in range(90)))
    extend(config, Input.data)
    card = json.loads((folder / "data_card.json").read_text())
    assert contents(folder / "tokenizer") == tokenizer
    assert card["digest"] == (read_summary(folder) or {})["data"] != was
    (first, *_) = read_changes(folder)
    assert (first["step"], first["was"], first["now"]) == (2, was, card["digest"])
    assert start(config, "tiny", []) == folder  # accepted once, for good
    assert "accept_changes: []" in (folder / "config.yaml").read_text()


def test_the_same_data_under_a_new_date_is_no_change(tmp_path: Path) -> None:
    config = trained(tiny.experiment("clm", tmp_path), tmp_path)
    (tmp_path / "lines.txt").write_bytes((tmp_path / "lines.txt").read_bytes())
    extend(config)
    assert [one["what"] for one in read_changes(tmp_path / "run")] == [
        "trainer.max_steps", "learning rate",
    ]  # fmt: skip


PLUGIN = '''"""A constant schedule."""
from dataclasses import dataclass
from etude import plugin
from etude.config import ScheduleConfig


@dataclass
class ToyConfig(ScheduleConfig):
    """No knobs."""


@plugin(ToyConfig)
def toy(config, total_steps):
    """Factor 1."""
    return lambda step: 1.0
'''


def test_an_edited_plugin_is_refused_or_accepted_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "plugins/schedule/toy_level.py"
    file.parent.mkdir(parents=True)
    file.write_text(PLUGIN)
    monkeypatch.setenv(etude.plugins.VARIABLE, str(tmp_path / "plugins"))
    monkeypatch.setattr(etude.plugins, "__path__", etude.plugins.folders())
    config = tiny.experiment("clm", tmp_path)
    config = trained(replace(config, schedule=tiny.part("schedule", "toy_level")), tmp_path)
    file.write_text(PLUGIN.replace("1.0", "2.0"))
    assert_refused(config, rf"plugin schedule/toy_level: {DIGESTS}")
    extend(config, Input.plugins)
    assert read_changes(tmp_path / "run")[0]["what"] == "plugin schedule/toy_level"
    start(config, "tiny", [])


def test_an_edited_tokenizer_of_a_run_is_never_accepted(tmp_path: Path) -> None:
    config = trained(tiny.experiment("clm", tmp_path), tmp_path)
    file = tmp_path / "run/tokenizer/tokenizer_config.json"
    file.write_text(file.read_text().replace('"bos_token": "<bos>"', '"bos_token": "<eos>"'))
    assert_refused(config, r"run/tokenizer is damaged: tokenizer_config\.json has changed")
    assert_refused(config, r"run/tokenizer is damaged: tokenizer_config\.json has changed", *Input)


def edited(name: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        lambda folder: (folder / "chat_template.jinja").write_text("{{ messages[0].content }}"),
        edited("tokenizer_config.json", '"eos_token": "<eos>"', '"eos_token": "<pad>"'),
        edited("tokenizer.json", '"content": "<mask>"', '"content": "<blank>"'),
    ],
    ids=["template", "role", "token"],
)
def test_an_edited_pretrained_tokenizer_is_refused_with_either_setting(
    edit: Callable[[Path], Any], tmp_path: Path
) -> None:
    tiny.BYTES.save(tmp_path / "theirs")
    config = tiny.experiment("sft", tmp_path, max_new_tokens=0)
    loads = tiny.part("tokenizer", "pretrained", path=str(tmp_path / "theirs"))
    config = trained(replace(config, tokenizer=loads), tmp_path)
    edit(tmp_path / "theirs")
    assert_refused(config, rf"tokenizer or chat template \(.*theirs\): {DIGESTS}")
    assert_refused(config, "A run keeps its tokenizer", *Input)
    shutil.rmtree(tmp_path / "theirs")  # a run has its own copy
    extend(config)


def test_an_edited_tokenizer_or_template_of_a_parent_is_a_changed_parent(tmp_path: Path) -> None:
    parent = trained(tiny.experiment("clm", tmp_path), tmp_path / "parent")
    child = replace(tiny.experiment("sft", tmp_path, max_new_tokens=0), init_from=parent.run)
    child = trained(replace(child, architecture=parent.architecture), tmp_path)
    template = tmp_path / "parent/run/tokenizer/chat_template.jinja"
    template.write_text("{{ messages[0].content }}")
    assert_refused(child, rf"init_from=.*: {DIGESTS}[^$]*accept_changes=\[parents\]")
    extend(child, Input.parents)


def test_a_warm_start_has_the_tokenizer_of_its_parent(tmp_path: Path) -> None:
    config = replace(tiny.experiment("clm", tmp_path), tokenizer=tiny.part("tokenizer", "bpe"))
    parent = trained(config, tmp_path / "parent")
    (tmp_path / "lines.txt").write_text("".join(f"{i} other words {i * i}\n" for i in range(90)))
    child = trained(replace(config, init_from=parent.run), tmp_path)
    digests = {Tokenizer.load(f"{run}/tokenizer").digest for run in (parent.run, child.run)}
    assert len(digests) == 1


def test_changed_data_of_a_run_that_is_replayed_is_changed_data(tmp_path: Path) -> None:
    base = trained(tiny.experiment("clm", tmp_path), tmp_path / "base")
    config = tiny.experiment("sft", tmp_path, max_new_tokens=0, replay=base.run, replay_share=0.5)
    config = trained(config, tmp_path)
    (tmp_path / "lines.txt").write_text("".join(f"{i} other words {i * i}\n" for i in range(90)))
    assert_refused(config, rf"data \(.*objective\.replay={base.run}, .*\): {DIGESTS}")


def test_a_process_of_a_run_refuses_changed_inputs_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(tiny.experiment("clm", tmp_path), tmp_path)
    (tmp_path / "lines.txt").write_text("".join(f"{i} other words {i * i}\n" for i in range(90)))
    monkeypatch.setattr(sys, "argv", ["run", str(tmp_path / "run")])
    before = contents(tmp_path / "run")
    with pytest.raises(SystemExit) as stopped:
        run_module.main()
    assert stopped.value.code == CheckpointError.exit_code
    assert "lines.txt, or the code that reads it): was" in capsys.readouterr().err
    assert contents(tmp_path / "run") == before
