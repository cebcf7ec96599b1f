from pathlib import Path

import pytest
import tiny
import two_processes as two

FSDP = ("strategy=fsdp", "trainer.devices=2", "trainer.accelerator=cpu")
pytestmark = pytest.mark.slow


def test_two_processes_have_the_loss_curve_of_one(tmp_path: Path) -> None:
    still = "architecture.dropout=0"
    assert two.train(tmp_path / "one", still).returncode == 0
    ended = two.train(tmp_path / "two", still, *FSDP)
    assert ended.returncode == 0, ended.stderr
    two.assert_same_curve(tmp_path / "one", tmp_path / "two")


def test_a_run_killed_in_the_middle_resumes_bit_for_bit(tmp_path: Path) -> None:
    two.assert_survives_kill(tmp_path / "cut", tmp_path / "whole", *FSDP)


def test_rollouts_with_different_lengths_equal_those_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All ranks run the same number of forward passes; chunks of 3 give one rank one less."""
    (tmp_path / "plug" / "reward").mkdir(parents=True)
    (tmp_path / "plug" / "reward" / "toy_remainder.py").write_text(tiny.REWARD)
    monkeypatch.setenv("ETUDE_PLUGINS", str(tmp_path / "plug"))
    grpo = (
        "objective=grpo", "objective.max_new_tokens=20", "objective.group_size=2",
        "objective.generation_batch=3", "reward=toy_remainder", "optimizer.lr=0.02",
        "architecture.dropout=0", "trainer.precision=32",
    )  # fmt: skip
    for name, more in (("one", ()), ("two", FSDP)):
        ended = two.train(tmp_path / name, *grpo, *more)
        assert ended.returncode == 0, ended.stderr
    lengths = [line["response_length"] for line in two.untimed_steps(tmp_path / "one")]
    assert min(lengths) < 20
    assert lengths == [line["response_length"] for line in two.untimed_steps(tmp_path / "two")]
    for name in ("loss", "reward", "kl", "grad_norm", "val/reward"):
        mine, theirs = (
            [line.get(name, 0.0) for line in two.untimed_steps(tmp_path / run)]
            for run in ("one", "two")
        )
        assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-5)
