"""Stages run once, in order; errors are reported before the first stage runs."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
import two_processes as two

from etude.cli.main import main
from etude.cli.verbs.pipeline import split, stages_of
from etude.config import composition
from etude.config.command_line import config_name, prepare
from etude.config.config_file import build_config
from etude.config.plugin_source import presets
from etude.config.schema.pipeline import PipelineConfig, StageConfig
from etude.errors import ConfigError
from etude.experiments.stage import ROWS, STAMP
from etude.files.run_folder import run_lock

SMALL = (
    "trainer.max_steps=2", "trainer.global_batch=8", "trainer.val_samples=4", "logger=[]",
    "trainer.accelerator=cpu",
)  # fmt: skip


def test_overrides_of_a_stage_are_passed_on_unchanged() -> None:
    own, stages = split(["run=a b", "pipeline=r1", "sft.trainer.clip=1", "sft.data.path=c, d.txt"])
    assert own == ["run=a b", "pipeline=r1"]
    assert stages == {"sft": ["trainer.clip=1", "data.path=c, d.txt"]}


def test_a_stage_gets_the_folders_of_earlier_stages() -> None:
    stages = {
        "base": StageConfig(overrides=["seed=1"]),
        "pairs": StageConfig("label", ["run={base}"]),
        "dpo": StageConfig(overrides=["init_from={base}", f"data.path={{pairs}}/{ROWS}"]),
    }
    built = stages_of(PipelineConfig(stages), {"dpo": ["seed=2"]}, Path("/out"))
    assert [stage.command for stage in built] == [
        ["train", "seed=1", "run=/out/base"],
        ["label", "run=/out/base", f"out=/out/pairs/{ROWS}"],
        ["train", "init_from=/out/base", f"data.path=/out/pairs/{ROWS}", "seed=2", "run=/out/dpo"],
    ]
    assert [stage.parents for stage in built] == [[], ["base"], ["base", "pairs"]]


def test_a_reference_to_a_later_stage_is_refused() -> None:
    stages = {"sft": StageConfig(overrides=["init_from={base}"]), "base": StageConfig()}
    with pytest.raises(ValueError, match=r"stages\.sft refers to"):
        PipelineConfig(stages)


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(ConfigError, match="the pipeline has no stage stf"):
        stages_of(PipelineConfig({"sft": StageConfig()}), {"stf": ["seed=1"]}, Path("/out"))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(presets("pipeline")))
def test_every_key_of_a_shipped_pipeline_exists(name: str) -> None:
    config = build_config(
        composition.compose("pipeline", [f"pipeline={name}"]).config, PipelineConfig
    )
    for stage in stages_of(config, {}, Path("/out")):
        verb, *overrides = stage.command
        composition.check_names(config_name(verb), prepare(overrides).overrides)


def test_an_unknown_key_in_the_last_stage_is_refused_before_the_first_stage_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["pipeline", "pipeline=r1", "grpo.objective.bta=1"]) == 2
    assert "objective.beta" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_finished_stages_are_skipped_and_only_changed_stages_are_rerun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = tiny.write_text(tmp_path)
    base = ["tokenizer=byte", "data=text", "data.document=line", "data.seq_len=32", *SMALL]
    options = ("architecture.dim=16", "architecture.n_layers=1", f"data.path={text}", *base)
    overrides = [f"base.{item}" for item in options]
    overrides += [f"sft.{item}" for item in SMALL]
    overrides += [f"grpo.{item}" for item in (*SMALL, "objective.group_size=4")]
    command = ["pipeline", "pipeline=r1", "run=chain", *overrides]
    assert main(command) == 0
    assert capfd.readouterr().out.splitlines()[-1] == str(tmp_path / "chain")
    stamp = json.loads((tmp_path / "chain/grpo" / STAMP).read_text(encoding="utf-8"))
    assert set(stamp["parents"]) == {"sft"}
    before = (tmp_path / "chain/sft/steps.jsonl").stat().st_mtime_ns
    assert main(command) == 0
    assert capfd.readouterr().out.count("is finished") == 3
    assert (tmp_path / "chain/sft/steps.jsonl").stat().st_mtime_ns == before
    assert main([*command, "grpo.seed=5"]) == 0
    out = capfd.readouterr().out
    assert out.count("is finished") == 2
    assert "grpo is rerun:\n    its command was without it, is seed=5" in out
    kept = tmp_path / "chain/grpo_before1"
    assert json.loads((kept / STAMP).read_text(encoding="utf-8")) == stamp
    assert (tmp_path / "chain/grpo" / STAMP).exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130), (signal.SIGKILL, -9)]
)
def test_the_stage_saves_and_ends_however_its_pipeline_ends(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    base = tmp_path / "chain" / "base"
    text = tiny.write_text(tmp_path)
    overrides = [f"base.{item}" for item in ("tokenizer=byte", "data=text", *SMALL)]
    overrides += [f"base.data.path={text}", "base.data.document=line", "base.data.seq_len=32"]
    overrides += ["base.architecture.dim=16", "base.architecture.n_layers=1"]
    overrides += ["base.trainer.max_steps=100000", f"run={tmp_path / 'chain'}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "etude", "pipeline", "pipeline=r1", *overrides],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    two.wait_for(3, base, process)
    process.send_signal(number)
    assert process.wait(timeout=120) == code
    deadline = time.monotonic() + 60
    while True:
        try:
            with run_lock(base, "trained"):
                break
        except ConfigError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    newest = max((base / "checkpoints").iterdir()).name
    assert int(newest.removeprefix("step-")) == len(two.untimed_steps(base))
