"""`etude plan` prints the cost of a run, the first line for scripts, and writes no files."""

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


def test_the_first_line_is_the_number_of_parameters_and_no_files_are_left(
    tmp_path: Path, capsys: Any
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert main(["plan", *SMALL, "trainer.max_steps=7", "calibrate=false"]) == 0
    assert sorted(tmp_path.rglob("*")) == before
    first, *rest = capsys.readouterr().out.splitlines()
    lines = "\n".join(rest)
    composed = compose("train", SMALL)
    network = tiny.training_parts(validate_experiment(composed, SMALL)).objective.network
    assert first == f"parameters: {sum(p.numel() for p in network.parameters())}"
    assert "steps: 7 on 1 device" in lines
    assert "compute-optimal" in lines
    assert "time:" not in lines


@pytest.mark.slow
def test_a_calibration_measures_real_steps_and_leaves_no_files(tmp_path: Path, capsys: Any) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert main(["plan", *SMALL, "trainer.max_steps=7", "calibrate=2"]) == 0
    assert sorted(tmp_path.rglob("*")) == before
    lines = capsys.readouterr().out
    assert "s per step" in lines
    assert "measured memory" in lines


def test_a_run_that_does_not_fit_and_invalid_arguments_have_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert main(["plan", *SMALL, "calibrate=often"]) == 2
    assert "true, false or a number of steps" in capsys.readouterr().err
    monkeypatch.setattr(alternatives, "memory", lambda _: 2**20)
    assert main(["plan", *SMALL, "calibrate=0"]) == 2
    assert "None of the tried settings fits" in capsys.readouterr().err
    assert main(["plan", "objective=mlm", "architecture=gpt2"]) == 2
    assert "BOTH_SIDES" in capsys.readouterr().err
