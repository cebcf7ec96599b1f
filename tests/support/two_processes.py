"""Runs with two processes through the real command, compared with the same run in one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from etude.files.run_folder import untimed_steps

SMALL = (
    "tokenizer=byte", "architecture.dim=16", "architecture.n_layers=2", "architecture.dropout=0.1",
    "data.seq_len=32", "trainer.global_batch=8", "trainer.val_samples=9", "trainer.max_steps=8",
    "trainer.val_every=4", "trainer.save_every=2", "logger=[]",
)  # fmt: skip


def command(run: Path, *overrides: str) -> list[str]:
    return [sys.executable, "-m", "etude", "train", *SMALL, f"run={run}", *overrides]


def train(run: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(run, *overrides), capture_output=True, text=True, timeout=240, check=False
    )


def assert_same_curve(one: Path, two: Path) -> None:
    """Training and validation losses agree up to fp32 rounding; digests of samples may differ."""
    for mine, theirs in zip(untimed_steps(one), untimed_steps(two), strict=True):
        for name in ("loss", "val/loss", "grad_norm", "tokens"):
            assert abs(mine.get(name, 0) - theirs.get(name, 0)) <= 5e-6 * abs(mine.get(name, 0))


def assert_equal(one: Path, two: Path) -> None:
    """The step records and the weights are bit-identical."""
    assert untimed_steps(one) == untimed_steps(two)
    weights, others = (load_file(run / "model" / "model.safetensors") for run in (one, two))
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def workers(run: Path) -> list[int]:
    """The process ids of a run's ranks, in rank order."""
    result = subprocess.run(
        ["pgrep", "-f", f"etude.training.run {run}"], capture_output=True, text=True, check=False
    )
    return [int(line) for line in result.stdout.split()]


def start_and_wait_for(step: int, run: Path, *overrides: str) -> subprocess.Popen[bytes]:
    """Starts a run and returns when its step record has reached a step; stderr is `<run>.err`."""
    with Path(f"{run}.err").open("w") as stderr:
        process = subprocess.Popen(
            command(run, *overrides), stdout=subprocess.DEVNULL, stderr=stderr
        )
    wait_for(step, run, process)
    return process


def wait_for(step: int, run: Path, process: subprocess.Popen[Any]) -> None:
    """Returns when the step record of a run has reached a step."""
    record, deadline = run / "steps.jsonl", time.monotonic() + 120
    while not record.exists() or record.read_bytes().count(b"\n") < step:
        assert time.monotonic() < deadline, f"the run has not reached step {step}"
        assert process.poll() is None, "the run ended early"
        time.sleep(0.01)


def assert_survives_kill(run: Path, whole: Path, *overrides: str) -> None:
    """After SIGKILL to every process, the same command resumes and is bit-identical."""
    long = ("trainer.max_steps=40", "trainer.val_every=20")
    assert train(whole, *overrides, *long).returncode == 0
    process = start_and_wait_for(5, run, *overrides, *long)
    process.kill()
    for pid in workers(run):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    assert train(run, *overrides, *long).returncode == 0
    assert_equal(run, whole)
