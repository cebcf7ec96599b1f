"""What is chosen by probing is chosen once, and what is not there is said so."""

import json
from pathlib import Path

import pytest
import torch

from etude.errors import ConfigError
from etude.files.run_folder import HARDWARE
from etude.training import hardware


def test_a_stored_choice_is_taken_as_it_is(tmp_path: Path) -> None:
    stored = {"matmul_precision": "medium", "threads": 3, "speedup": 1.5}
    (tmp_path / HARDWARE).write_text(json.dumps(stored), encoding="utf-8")
    assert hardware.choose(tmp_path) == hardware.Hardware("medium", 3, 1.5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_an_accelerator_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"(?s)trainer.accelerator=gpu is not there.*finds: cpu"):
        hardware.refuse_missing("gpu")
    for name in ("auto", "cpu"):
        hardware.refuse_missing(name)


def test_a_machine_is_probed_once_for_all_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETUDE_CACHE", str(tmp_path / "cache"))
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first = hardware.choose(tmp_path / "first")
    monkeypatch.setattr(hardware, "probe", lambda: pytest.fail("probed again"))
    assert hardware.choose(tmp_path / "second") == first
