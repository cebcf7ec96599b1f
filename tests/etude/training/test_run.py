"""A resumed run is bit-identical to an uninterrupted one: the same steps and weights."""

import fcntl
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny

import etude.plugins
import etude.training.fit
from etude.config import config_file
from etude.config.schema.experiment import ExperimentConfig
from etude.errors import CheckpointError, ConfigError, PreemptedError
from etude.files import seal
from etude.files.manifest import fault_of
from etude.files.run_folder import STEPS, SUMMARY
from etude.formats.checkpoint import checkpoints, path_of
from etude.plugins.objective._ppo.reward_shaping import RewardScaling
from etude.processes import EXIT_CODES
from etude.training import checkpoint_io
from etude.training.run import start
from etude.training.run_writer import RunWriter

OBJECTIVES = [
    "clm", "mlm", "seq2seq", "prefix_lm", "electra", "sop", "distill", "sft", "grpo",
    *tiny.RUN_PREFERENCES, "reward", "rloo", "reinforce", "online_dpo", "ppo",
]  # fmt: skip
STEPS_IN_ALL = 7


@pytest.fixture
def rewards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reward plugin whose scores differ between random completions."""
    file = tmp_path / "plugins" / "reward" / "toy_remainder.py"
    file.parent.mkdir(parents=True)
    file.write_text(tiny.REWARD)
    monkeypatch.setenv(etude.plugins.VARIABLE, str(tmp_path / "plugins"))
    monkeypatch.setattr(etude.plugins, "__path__", etude.plugins.folders())


def config_of(name: str, folder: Path, **trainer: Any) -> ExperimentConfig:
    """Dropout, two micro-batches per step, epochs and rollouts that end between checkpoints."""
    values = {"max_steps": STEPS_IN_ALL, "save_every": 3, "val_every": 2, "precision": "32"}
    values |= {"micro_batch": 4, "log_every": 1} | trainer
    more: dict[str, Any] = {"dropout": 0.1}
    if name in tiny.ON_POLICY:
        more |= {} if name == "reinforce" else {"batches_per_rollout": 2, "epochs": 2, "beta": 0.1}
        more |= {"max_draws": 3} if name == "grpo" else {}
        if name == "ppo":  # a rollout ends and beta moves between a checkpoint and the last step
            more |= {
                "batches_per_rollout": 1,
                "kl_horizon": 50.0,
                "reward_scaling": RewardScaling.running,
            }
        more["reward"] = {"toy_remainder": tiny.part("reward", "toy_remainder")}
    return tiny.experiment(name, folder, trainer=values, **more)


def run(config: ExperimentConfig, folder: Path, *overrides: str) -> Path:
    return start(replace(config, run=str(folder)), "tiny", list(overrides))


def left_by(folder: Path) -> tuple[list[dict[str, Any]], bytes]:
    """The step lines without times, and the weights."""
    return tiny.untimed_steps(folder), (folder / "model" / "model.safetensors").read_bytes()


def after_step(step: int, act: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    """Calls a function after the line of a step is written and before the checkpoint."""
    write = RunWriter._write

    def and_act(self: RunWriter, line: dict[str, Any]) -> None:
        write(self, line)
        if line["step"] == step:
            act()

    patch.setattr(RunWriter, "_write", and_act)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_warning_of_slurm_saves_as_sigterm_does(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        after_step(5, lambda: os.kill(os.getpid(), signal.SIGUSR1), patch)
        with pytest.raises(PreemptedError, match="after step 5; the run was saved"):
            run(config_of("clm", tmp_path), tmp_path / "run")


@pytest.mark.usefixtures("rewards")
@pytest.mark.parametrize("name", OBJECTIVES)
def test_sigterm_saves_at_the_next_step_and_resuming_is_bit_identical(
    name: str, tmp_path: Path
) -> None:
    config = config_of(name, tmp_path)
    handlers = [signal.getsignal(number) for number in EXIT_CODES]
    run(config, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        after_step(5, terminate, patch)
        with pytest.raises(PreemptedError, match="after step 5; the run was saved") as stopped:
            run(config, tmp_path / "cut")
    assert stopped.value.exit_code == 75
    assert [signal.getsignal(number) for number in EXIT_CODES] == handlers
    assert fault_of(path_of(tmp_path / "cut" / "checkpoints", 5)) is None
    assert len(tiny.untimed_steps(tmp_path / "cut")) == 5  # no step is lost
    run(config, tmp_path / "cut")
    assert left_by(tmp_path / "cut") == left_by(tmp_path / "whole")
    assert [line["step"] for line in tiny.untimed_steps(tmp_path / "cut")] == [*range(1, 8)]


def killed(job: Callable[[], Any], when: Callable[[pytest.MonkeyPatch], None]) -> None:
    """Runs the job in a child process that is killed at a given point."""

    def child() -> None:
        with pytest.MonkeyPatch.context() as patch:
            when(patch)
            job()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


def at_save(n: int) -> Callable[[pytest.MonkeyPatch], None]:
    """Kills after the n-th checkpoint is written, but before its manifest."""

    def when(patch: pytest.MonkeyPatch) -> None:
        write, seen = checkpoint_io.write_tree, [0]

        def half(tree: Any, folder: Path) -> None:
            seen[0] += 1
            write(tree, folder)
            if seen[0] == n:
                kill()

        patch.setattr(checkpoint_io, "write_tree", half)

    return when


def at_step(step: int) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: after_step(step, kill, patch)


def at_config(patch: pytest.MonkeyPatch) -> None:
    """Kills after the folder is created, but before its config is written."""
    patch.setattr(config_file, "save_config", lambda config, folder: kill())


def at_model(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(etude.training.fit, "write_model", lambda *given: kill())


@pytest.mark.slow
@pytest.mark.usefixtures("rewards")
@pytest.mark.parametrize("name", ["clm", "grpo"])
def test_a_run_killed_repeatedly_equals_the_uninterrupted_one(name: str, tmp_path: Path) -> None:
    config = config_of(name, tmp_path)
    run(config, tmp_path / "whole")
    folder = tmp_path / "killed"
    for when in (at_config, at_step(2), at_step(5), at_save(1), at_save(2), at_model):
        killed(lambda: run(config, folder), when)
    run(config, folder)
    assert left_by(folder) == left_by(tmp_path / "whole")
    litter = [path.name for path in (folder / "checkpoints").iterdir()]
    assert sorted(litter) == ["step-000000006", "step-000000007"]


def at_seal(n: int, *, is_before: bool) -> Callable[[pytest.MonkeyPatch], None]:
    """Kills just before or after the n-th time that the seal of the run is written."""

    def when(patch: pytest.MonkeyPatch) -> None:
        write, seen = seal.write_signed, [0]

        def counted(file: Path, content: Any) -> None:
            seen[0] += 1
            if seen[0] == n and is_before:
                kill()
            write(file, content)
            if seen[0] == n:
                kill()

        patch.setattr(seal, "write_signed", counted)

    return when


@pytest.mark.slow
@pytest.mark.parametrize("is_before", [True, False])
def test_a_run_killed_while_it_seals_equals_the_uninterrupted_one(
    is_before: bool, tmp_path: Path
) -> None:
    config = config_of("clm", tmp_path)
    run(config, tmp_path / "whole")
    folder = tmp_path / "killed"
    for n in range(1, 13):  # the last ones are killed at the end
        when = at_seal(n, is_before=is_before)
        killed(lambda: (run(config, folder), kill()), when)
    run(config, folder)
    assert left_by(folder) == left_by(tmp_path / "whole")
    longer = replace(config, trainer=replace(config.trainer, max_steps=9))
    for n in range(1, 13):  # a changed length writes all records anew
        when = at_seal(n, is_before=is_before)
        killed(lambda: (run(longer, folder, "trainer.max_steps=9"), kill()), when)
    run(longer, folder, "trainer.max_steps=9")
    assert len(left_by(folder)[0]) == 9


def test_a_damaged_checkpoint_is_skipped_and_the_result_is_the_same(
    tmp_path: Path,
) -> None:
    config = config_of("clm", tmp_path)
    run(config, tmp_path / "whole")
    folder = tmp_path / "cut"
    with pytest.MonkeyPatch.context() as patch:
        after_step(5, terminate, patch)
        with pytest.raises(PreemptedError):
            run(config, folder)
    damaged = path_of(folder / "checkpoints", 5) / "tensors.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.warns(UserWarning, match="Damaged checkpoints are skipped: .*step-000000005"):
        run(config, folder)
    assert left_by(folder) == left_by(tmp_path / "whole")


def test_a_run_without_an_intact_checkpoint_does_not_restart_from_scratch(tmp_path: Path) -> None:
    config, folder = config_of("clm", tmp_path), tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        after_step(3, terminate, patch)
        with pytest.raises(PreemptedError):
            run(config, folder)
    for path in checkpoints(folder / "checkpoints"):
        (path / "tree.json").unlink()
    with pytest.raises(CheckpointError, match=r"step-000000003: tree\.json is missing"):
        run(config, folder)
    assert len(tiny.untimed_steps(folder)) == 3


def test_a_finished_run_returns_immediately_and_more_steps_resume_it(tmp_path: Path) -> None:
    config, folder = config_of("clm", tmp_path, max_steps=3), tmp_path / "run"
    first = run(config, folder)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.name != ".lock"}
    assert run(config, folder) == first
    assert {p: p.stat().st_mtime_ns for p in before} == before
    longer = replace(config, trainer=replace(config.trainer, max_steps=5))
    run(longer, folder, "trainer.max_steps=5")
    assert [line["step"] for line in tiny.untimed_steps(folder)] == [1, 2, 3, 4, 5]
    assert json.loads((folder / SUMMARY).read_text())["metrics"]["step"] == 5
    assert config_file.load_config(folder).trainer.max_steps == 5


def test_a_changed_key_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    config, folder = config_of("clm", tmp_path, max_steps=2), tmp_path / "run"
    run(config, folder)
    before = (folder / STEPS).read_bytes()
    other = replace(config, optimizer=tiny.part("optimizer", "adamw", lr=0.5))
    with pytest.raises(ConfigError, match=r"optimizer\.lr: 0\.001, now 0\.5"):
        run(other, folder, "optimizer.lr=0.5")
    assert (folder / STEPS).read_bytes() == before


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    config, folder = config_of("clm", tmp_path), tmp_path / "run"
    folder.mkdir()
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="is being written by another process"):
            run(config, folder)


def test_a_folder_with_other_files_is_not_touched(tmp_path: Path) -> None:
    config, folder = config_of("clm", tmp_path), tmp_path / "thesis"
    folder.mkdir()
    (folder / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match="is not empty and contains no run"):
        run(config, folder)
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]
    with pytest.raises(ConfigError, match="is not writable"):
        run(config, folder / "thesis.tex")


def test_an_invalid_config_leaves_no_folder(tmp_path: Path) -> None:
    odd = tiny.stack(mixer=tiny.part("architecture/mixer", "attention", queries_per_kv=3))
    config = replace(config_of("clm", tmp_path), architecture=odd)
    with pytest.raises(ConfigError, match="architecture: queries_per_kv must divide n_heads"):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_does_not_resume_if_its_parent_has_changed(tmp_path: Path) -> None:
    parent = config_of("clm", tmp_path, max_steps=2)
    run(parent, tmp_path / "parent")
    child = replace(config_of("dpo", tmp_path, max_steps=4), init_from=str(tmp_path / "parent"))
    child = replace(child, architecture=parent.architecture, tokenizer=parent.tokenizer)
    with pytest.MonkeyPatch.context() as patch:
        after_step(2, terminate, patch)
        with pytest.raises(PreemptedError):
            run(child, tmp_path / "child")
    run(replace(parent, trainer=replace(parent.trainer, max_steps=3)), tmp_path / "other")
    shutil.rmtree(tmp_path / "parent" / "model")
    shutil.copytree(tmp_path / "other" / "model", tmp_path / "parent" / "model")
    with pytest.raises(CheckpointError, match=r"init_from=.*parent: was \w{12}, is \w{12}"):
        run(child, tmp_path / "child")


def test_a_run_starts_from_its_parents_weights(tmp_path: Path) -> None:
    parent = config_of("clm", tmp_path, max_steps=3)
    run(parent, tmp_path / "parent")
    child = replace(
        parent,
        init_from=str(tmp_path / "parent"),
        optimizer=tiny.part("optimizer", "sgd", lr=1e-12, momentum=0.0),
        trainer=replace(parent.trainer, max_steps=1),
    )
    run(child, tmp_path / "child", "experiment=tiny")
    run(child, tmp_path / "child", "experiment=tiny")
    weights = [
        (tmp_path / n / "model" / "model.safetensors").read_bytes() for n in ("parent", "child")
    ]
    assert weights[0] == weights[1]
