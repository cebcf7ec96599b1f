from pathlib import Path

import pytest
import two_processes as two

FSDP = ("strategy=fsdp", "trainer.devices=2", "trainer.accelerator=cpu")
pytestmark = pytest.mark.slow


def test_two_processes_give_the_curve_of_one(tmp_path: Path) -> None:
    still = "architecture.dropout=0"
    assert two.train(tmp_path / "one", still).returncode == 0
    ended = two.train(tmp_path / "two", still, *FSDP)
    assert ended.returncode == 0, ended.stderr
    two.assert_same_curve(tmp_path / "one", tmp_path / "two")


def test_a_run_killed_in_the_middle_goes_on_bit_for_bit(tmp_path: Path) -> None:
    two.assert_survives_kill(tmp_path / "cut", tmp_path / "whole", *FSDP)
