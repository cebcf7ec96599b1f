"""Ranks end together, and only the error of the first of them is shown."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import two_processes as two

import etude.plugins
from etude.errors import ConfigError
from etude.files.run_folder import LOCK, run_lock

DDP = ("strategy=ddp", "trainer.devices=2", "trainer.accelerator=cpu", "trainer.max_steps=100000")
FAULTY = """
import lightning.pytorch as pl
from dataclasses import dataclass
from etude import plugin
from etude.config import CallbackConfig

@dataclass
class FaultyConfig(CallbackConfig):
    rank: int = 0

@plugin(FaultyConfig)
class Faulty(pl.Callback):
    "Fails on one rank."

    def __init__(self, config):
        self.rank = config.rank

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 3 and trainer.global_rank == self.rank:
            raise ValueError("a faulty plugin")
"""


def end_of(process: subprocess.Popen[bytes], run: Path) -> tuple[int, list[str]]:
    """The exit code and the lines on stderr, without those of the progress bar."""
    code = process.wait(timeout=120)
    assert two.workers(run) == []
    lines = Path(f"{run}.err").read_text().splitlines()
    return code, [line for line in lines if not line.startswith("step ")]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_is_named_and_ends_the_run(rank: int, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = two.start_and_wait_for(5, run, *DDP)
    os.kill(two.workers(run)[rank], signal.SIGKILL)
    code, (what, saved) = end_of(process, run)
    assert code == 1
    assert what == f"rank {rank} was killed by signal 9 (SIGKILL)."
    assert saved.startswith("  It was saved at step ")
    assert saved.endswith(f"run the same command with run={run}.")


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_stuck_rank_is_named_after_the_time_limit(rank: int, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = two.start_and_wait_for(5, run, *DDP, "trainer.rank_timeout_s=12")
    os.kill(two.workers(run)[rank], signal.SIGSTOP)
    code, (what, saved) = end_of(process, run)
    assert code == 1
    assert what.startswith(f"rank {rank} was stuck: ")
    assert saved.startswith("  It was saved at step ")


def is_free(run: Path) -> bool:
    try:
        with run_lock(run, "locked"):
            return True
    except ConfigError:
        return False


@pytest.mark.slow
def test_the_ranks_end_when_their_launcher_is_killed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = two.start_and_wait_for(5, run, *DDP)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while two.workers(run) or not is_free(run):  # a process that ends closes its files last
        assert time.monotonic() < deadline


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_only_the_first_error_is_shown(rank: int, tmp_path: Path) -> None:
    file = tmp_path / "plugins" / "callback" / "toy_faulty.py"
    file.parent.mkdir(parents=True)
    file.write_text(FAULTY)
    command = two.command(tmp_path / "run", *DDP, "callback=[toy_faulty]")
    ended = subprocess.run(
        [*command, f"callback.toy_faulty.rank={rank}"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=os.environ | {etude.plugins.VARIABLE: str(tmp_path / "plugins")},
    )
    assert ended.returncode == 1
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("step ")]
    assert lines[0] == f"rank {rank} failed:"
    assert lines[1] == "ValueError: a faulty plugin"
    assert len(lines) <= 25


@pytest.mark.slow
def test_ctrl_c_saves_on_all_ranks_and_exits_130(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = two.start_and_wait_for(3, run, *DDP)
    process.send_signal(signal.SIGINT)
    code, lines = end_of(process, run)
    assert code == 130
    assert lines[0].endswith("the run was saved.")


@pytest.mark.slow
def test_a_preempted_job_ends_its_sweep_with_75(tmp_path: Path) -> None:
    run = tmp_path / "sweep" / "0"
    process = subprocess.Popen(
        two.command(tmp_path / "sweep", *DDP, "-m", "seed=1,2"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    two.wait_for(3, run, process)
    process.send_signal(signal.SIGUSR1)
    _, shown = process.communicate(timeout=240)
    assert process.returncode == 75
    assert f"run={run}" in shown
    assert not (tmp_path / "sweep" / "1").exists()
    assert two.workers(run) == []


def test_a_run_is_locked_until_the_last_process_with_its_lock_ends(tmp_path: Path) -> None:
    with run_lock(tmp_path, "written") as lock:
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,)
        )
    with pytest.raises(ConfigError, match="is being written"), run_lock(tmp_path, "written"):
        pass
    child.communicate(b"\n")
    with run_lock(tmp_path, "written"):
        assert (tmp_path / LOCK).exists()
