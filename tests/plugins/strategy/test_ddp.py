import os
import signal
from pathlib import Path

import pytest
import two_processes as two

DDP = ("strategy=ddp", "trainer.devices=2", "trainer.accelerator=cpu")
pytestmark = pytest.mark.slow


def test_two_processes_have_the_loss_curve_of_one(tmp_path: Path) -> None:
    still = "architecture.dropout=0"
    assert two.train(tmp_path / "one", still).returncode == 0
    ended = two.train(tmp_path / "two", still, *DDP)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == str(tmp_path / "two")
    two.assert_same_curve(tmp_path / "one", tmp_path / "two")


def test_a_batch_statistic_is_that_of_the_global_batch_over_all_ranks(tmp_path: Path) -> None:
    kto = (
        "objective=kto", "objective.precompute=true", "optimizer.lr=0.01",
        "architecture.dropout=0", "trainer.val_samples=32", "trainer.train_samples=200",
    )  # fmt: skip
    for name, more in (("one", ()), ("two", DDP)):
        ended = two.train(tmp_path / name, *kto, *more)
        assert ended.returncode == 0, ended.stderr
    two.assert_same_curve(tmp_path / "one", tmp_path / "two")
    points = [
        [line["kl"] for line in two.untimed_steps(tmp_path / name)] for name in ("one", "two")
    ]
    assert points[0] == pytest.approx(points[1], rel=1e-4, abs=1e-5)
    assert max(points[0]) > 0


def test_rows_are_gathered_from_all_ranks_in_the_order_of_the_samples(tmp_path: Path) -> None:
    """Training and validation equal those of one process in one micro-batch."""
    embed = (
        "objective=embed", "architecture.dropout=0", "trainer.precision=64",
        "trainer.train_samples=100", "trainer.max_steps=4",
    )  # fmt: skip
    for name, more in (("one", ()), ("two", (*DDP, "trainer.micro_batch=2"))):
        ended = two.train(tmp_path / name, *embed, *more)
        assert ended.returncode == 0, ended.stderr
    for one, other in zip(
        *(two.untimed_steps(tmp_path / name) for name in ("one", "two")), strict=True
    ):
        assert one.pop("samples") != other.pop("samples")  # the digest is that of a rank's share
        assert one == pytest.approx(other, rel=1e-9, abs=1e-9)


def test_a_run_killed_in_the_middle_resumes_bit_for_bit(tmp_path: Path) -> None:
    two.assert_survives_kill(tmp_path / "cut", tmp_path / "whole", *DDP)


def test_the_current_rollout_is_resumed_on_every_rank(tmp_path: Path) -> None:
    grpo = (
        "objective=grpo", "objective.max_new_tokens=4", "objective.group_size=2",
        "objective.batches_per_rollout=2", "objective.epochs=2", "trainer.global_batch=4",
    )  # fmt: skip
    two.assert_survives_kill(tmp_path / "cut", tmp_path / "whole", *DDP, *grpo)


def test_dynamic_sampling_uses_the_groups_of_all_ranks(tmp_path: Path) -> None:
    """The kept prompts, the losses and the metrics equal those of one process."""
    grpo = (
        "objective=grpo", "objective.max_new_tokens=4", "objective.group_size=2",
        "objective.scale=batch", "objective.max_draws=20", "trainer.precision=64",
        "optimizer.lr=0.001", "reward=length", "reward.length.target=9", "trainer.max_steps=4",
    )  # fmt: skip
    for name, more in (("one", ()), ("two", DDP)):
        ended = two.train(tmp_path / name, *grpo, *more)
        assert ended.returncode == 0, ended.stderr
    for one, other in zip(
        *(two.untimed_steps(tmp_path / name) for name in ("one", "two")), strict=True
    ):
        assert one.pop("samples") != other.pop("samples")  # they are numbered by rank
        assert one == pytest.approx(other, rel=1e-9, abs=1e-9)
        assert one["zero_variance"] == 0


def test_sigterm_saves_on_all_ranks_and_exits_75(tmp_path: Path) -> None:
    process = two.start_and_wait_for(3, tmp_path / "run", *DDP, "trainer.max_steps=100000")
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(timeout=120) == 75
    saved = max((tmp_path / "run" / "checkpoints").iterdir()).name
    assert int(saved.removeprefix("step-")) == len(two.untimed_steps(tmp_path / "run"))
    assert two.workers(tmp_path / "run") == []


def test_a_sweep_over_the_number_of_devices_gives_equal_losses(tmp_path: Path) -> None:
    sweep = ("-m", "trainer.devices=1,2", "strategy=ddp", "trainer.accelerator=cpu")
    ended = two.train(tmp_path / "sweep", *sweep, "architecture.dropout=0")
    assert ended.returncode == 0, ended.stderr
    two.assert_same_curve(tmp_path / "sweep" / "0", tmp_path / "sweep" / "1")
