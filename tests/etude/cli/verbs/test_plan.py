"""The command plans: its first line is for scripts, and looking leaves nothing behind."""

from pathlib import Path
from typing import Any

import pytest
import tiny

from etude.cli.main import main
from etude.config.composition import compose
from etude.planning import alternatives
from etude.training.experiment import validate_experiment

SMALL = [
    "tokenizer=byte",
    "data=text",
    "data.path=lines.txt",
    "data.document=line",
    "data.seq_len=16",
    "architecture.dim=16",
    "architecture.n_layers=1",
]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.write_text(tmp_path)


def test_the_first_line_is_the_number_of_parameters_and_nothing_is_left(
    tmp_path: Path, capsys: Any
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert main(["plan", *SMALL, "trainer.max_steps=7", "calibrate=false"]) == 0
    assert sorted(tmp_path.rglob("*")) == before
    first, *rest = capsys.readouterr().out.splitlines()
    said = "\n".join(rest)
    composed = compose("train", SMALL)
    network = tiny.training_parts(validate_experiment(composed, SMALL)).objective.network
    assert first == f"parameters: {sum(p.numel() for p in network.parameters())}"
    assert "steps: 7 on 1 device" in said
    assert "compute-optimal" in said
    assert "time:" not in said


@pytest.mark.slow
def test_a_calibration_times_real_steps_and_leaves_nothing(tmp_path: Path, capsys: Any) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert main(["plan", *SMALL, "trainer.max_steps=7", "calibrate=2"]) == 0
    assert sorted(tmp_path.rglob("*")) == before
    said = capsys.readouterr().out
    assert "s a step" in said
    assert "memory as measured" in said


def test_what_does_not_fit_and_what_does_not_exist_is_refused_with_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert main(["plan", *SMALL, "calibrate=often"]) == 2
    assert "true, false or a number of steps" in capsys.readouterr().err
    monkeypatch.setattr(alternatives, "memory", lambda _: 2**20)
    assert main(["plan", *SMALL, "calibrate=0"]) == 2
    assert "No setting that was tried fits" in capsys.readouterr().err
    assert main(["plan", "objective=mlm", "architecture=gpt2"]) == 2
    assert "BOTH_SIDES" in capsys.readouterr().err
