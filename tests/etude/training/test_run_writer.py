import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import tiny
from lightning.pytorch.loggers import Logger

from etude.files.run_folder import STEPS
from etude.formats.checkpoint import checkpoints
from etude.training.assemble import trainer_of
from etude.training.run import quiet
from etude.training.run_writer import Intervals, RunWriter, _reopen

FIELDS = {"step", "loss", "grad_norm", "lr", "tokens", "skipped", "samples", "seconds"}


def test_the_last_step_is_always_due() -> None:
    intervals = Intervals(total=7, validate=3, save=2, keep=2, log=1)
    assert [step for step in range(1, 8) if intervals.is_due(intervals.validate, step)] == [3, 6, 7]


def test_every_step_has_a_line_with_all_fields(tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path, trainer={"log_every": 3, "val_every": 2})
    tiny.fit(config, tiny.training_parts(config), tmp_path / "run")
    text = (tmp_path / "run" / STEPS).read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert all(line.keys() >= FIELDS | {"perplexity", "bits_per_byte"} for line in lines)
    assert [i + 1 for i, line in enumerate(lines) if "val/loss" in line] == [2, 4, 5]
    tokens = [line["tokens"] for line in lines]
    assert sorted(set(tokens)) == tokens


def test_a_line_has_the_learning_rate_of_its_step(tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path)
    lines = tiny.fit(config, tiny.training_parts(config), tmp_path / "run")
    factor = tiny.build(config.schedule, 5)
    assert [line["lr"] for line in lines] == pytest.approx([1e-3 * factor(i) for i in range(5)])


@pytest.mark.parametrize(("keep", "wanted"), [(1, [5]), (2, [4, 5]), (9, [2, 4, 5])])
def test_the_newest_checkpoints_are_kept(keep: int, wanted: list[int], tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path, trainer={"save_every": 2, "keep": keep})
    tiny.fit(config, tiny.training_parts(config), tmp_path / "run")
    found = [int(path.name[-9:]) for path in checkpoints(tmp_path / "run" / "checkpoints")]
    assert sorted(found) == wanted


@pytest.mark.parametrize(("step", "kept"), [(0, 0), (2, 2), (3, 3), (9, 3)])
def test_resuming_drops_the_lines_of_lost_steps(step: int, kept: int, tmp_path: Path) -> None:
    file = tmp_path / STEPS
    lines = [json.dumps({"step": i, "name": "é"}) + "\n" for i in (1, 2, 3)]
    file.write_text("".join(lines), encoding="utf-8")
    with _reopen(file, step) as opened:
        opened.write("next\n")
    assert file.read_text(encoding="utf-8") == "".join(lines[:kept]) + "next\n"


def test_an_incomplete_line_is_removed(tmp_path: Path) -> None:
    file = tmp_path / STEPS
    file.write_text('{"step": 1}\n{"st')
    _reopen(file, 1).close()
    assert file.read_text() == '{"step": 1}\n'


class Recorder(Logger):
    """A tracker that stores what it logs."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int | None] = []

    @property
    def name(self) -> str:
        return "recorder"

    @property
    def version(self) -> str:
        return "0"

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        assert all(isinstance(value, float | int) for value in metrics.values())
        self.steps.append(step)


def test_trackers_log_at_intervals_and_after_each_validation(tmp_path: Path) -> None:
    quiet()
    trainer = {"log_every": 2, "val_every": 3, "max_steps": 7}
    config = tiny.experiment("clm", tmp_path, trainer=trainer)
    made, recorder, seen = tiny.training_parts(config), Recorder(), list[float]()
    intervals = Intervals(7, 3, 7, 1, 2)
    folder = tmp_path / "run"
    folder.mkdir()
    writer = RunWriter(
        folder, intervals, made.validation, 0, lambda line: seen.append(line["step"])
    )
    fitter: pl.Trainer = trainer_of(config, made.plan, folder, [writer])
    fitter.loggers = [recorder]
    fitter.fit(made.objective, made.loader)
    assert [step for step in recorder.steps if step] == [2, 3, 4, 6, 7]
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    assert writer.last["step"] == 7


class Failing(Recorder):
    """A tracker that fails at the second step, and counts how often it is closed."""

    closed = 0

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        super().log_metrics(metrics, step)
        if step == 2:
            raise ConnectionError("the server is gone")

    def finalize(self, status: str) -> None:
        self.closed += 1


@pytest.mark.filterwarnings("ignore::FutureWarning")  # Lightning's, which pytest.warns lets out
def test_a_failing_tracker_is_closed_and_removed_and_the_others_continue(tmp_path: Path) -> None:
    quiet()
    config = tiny.experiment("clm", tmp_path, trainer={"max_steps": 3, "log_every": 1})
    made, failing, recorder = tiny.training_parts(config), Failing(), Recorder()
    folder = tmp_path / "run"
    folder.mkdir()
    writer = RunWriter(folder, Intervals(3, 3, 3, 1, 1), made.validation, 0, lambda line: None)
    fitter: pl.Trainer = trainer_of(config, made.plan, folder, [writer])
    fitter.loggers = [failing, recorder]
    with pytest.warns(UserWarning, match="Failing failed and was removed: the server is gone"):
        fitter.fit(made.objective, made.loader)
    assert (failing.steps, failing.closed) == ([1, 2], 1)
    assert [step for step in recorder.steps if step] == [1, 2, 3]
