"""The hardware benchmark runs once, and a missing accelerator is refused."""

import json
from pathlib import Path

import pytest
import torch

from etude.errors import ConfigError
from etude.files.run_folder import HARDWARE
from etude.files.seal import write_sealed
from etude.training import hardware


def test_stored_settings_are_reused(tmp_path: Path) -> None:
    stored = {"matmul_precision": "medium", "threads": 3, "speedup": 1.5}
    write_sealed(tmp_path / HARDWARE, json.dumps(stored))
    assert hardware.load_or_benchmark(tmp_path) == hardware.Hardware("medium", 3, 1.5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is available")
def test_a_missing_accelerator_is_refused_with_the_available_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"(?s)trainer.accelerator=gpu: no GPU is available.*: cpu"
    ):
        hardware.refuse_missing("gpu")
    for name in ("auto", "cpu"):
        hardware.refuse_missing(name)


def test_a_machine_is_benchmarked_once_for_all_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETUDE_CACHE", str(tmp_path / "cache"))
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first = hardware.load_or_benchmark(tmp_path / "first")
    monkeypatch.setattr(hardware, "benchmark", lambda: pytest.fail("benchmarked again"))
    assert hardware.load_or_benchmark(tmp_path / "second") == first


def test_damaged_settings_are_replaced_by_those_of_this_machine(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = hardware.load_or_benchmark(tmp_path)
    for damaged in ("", "[]", '{"matmul_precision": "highest", "threads": 7, "speedup": 1.0}\n'):
        (tmp_path / HARDWARE).write_text(damaged)
        assert hardware.load_or_benchmark(tmp_path) == found
        assert "hardware.json is damaged" in capfd.readouterr().err
