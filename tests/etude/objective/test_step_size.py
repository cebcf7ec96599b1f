"""Sizes of steps: counted exactly, checked before a run, and the same order of samples."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from defaults import default

from etude.config.compatibility import check
from etude.config.schema.trainer import TrainerConfig
from etude.data.corpus import prepare
from etude.errors import CompositionError, ConfigError, PreemptedError
from etude.objective.loader import EpochSource, Ranks, StepLoader, split
from etude.objective.step_size import StepSize, StepSizes
from etude.planning.forecast import forecast
from etude.training.length import Epoch, measured_epoch
from etude.training.run import start
from etude.training.run_writer import RunWriter

BATCH = {"start": 2, "steps": 3}
LENGTH = {"start": 4, "steps": 3}
SPAN = {"start": 4, "steps": 3}
ALL = {"batch": BATCH, "length": LENGTH, "span": SPAN}


def ramps(**given: dict[str, int]) -> dict[str, Any]:
    return {name: default(f"ramp/{name}", **values) for name, values in given.items()}


def sizes(samples: int = 8, length: int = 16, **given: dict[str, int]) -> StepSizes:
    built = [made.__plugin__.build(made) for made in ramps(**given).values()]
    return StepSizes(StepSize(samples, length), built)


def source(made: StepSizes | None, ranks: Ranks | None = None) -> EpochSource:
    read = EpochSource(range(10), lambda record, draw: record, 8, 0, ranks or Ranks())  # type: ignore[arg-type]
    read.sizes = made
    return read


def config_of(folder: Path, **trainer: Any) -> Any:
    values = {"max_steps": 5, "save_every": 1, "val_every": 5, "keep": 9, "micro_batch": 2}
    made = tiny.experiment("clm", folder, trainer=values | trainer)
    return replace(made, ramp=ramps(**ALL))


def run(config: Any, folder: Path) -> list[dict[str, Any]]:
    start(replace(config, run=str(folder)), "tiny", [])
    return tiny.untimed_steps(folder)


def test_samples_and_steps_are_inverse() -> None:
    made = sizes(batch=BATCH)
    assert [made.at(step).samples for step in range(5)] == [2, 4, 6, 8, 8]
    assert [made.n_samples(steps) for steps in range(6)] == [0, 2, 6, 12, 20, 28]
    assert [made.n_steps(n / 8) for n in (0, 2, 3, 6, 12, 20, 28)] == [0, 1, 2, 2, 3, 4, 5]
    assert made.full_steps(4) == 2.5


def test_without_ramps_every_step_is_full() -> None:
    made = sizes()
    assert [made.n_samples(3), made.full_steps(3), made.n_steps(2.2)] == [24, 3, 3]


def test_the_order_of_samples_is_that_without_a_ramp() -> None:
    ramped, plain = source(sizes(batch=BATCH)), source(None)
    mine = [i for _ in range(9) for i in ramped.next_step_batch().ids]
    theirs = [i for _ in range(9) for i in plain.next_step_batch().ids]
    assert mine == theirs[: len(mine)]


@pytest.mark.parametrize("stop", range(6))
def test_a_source_resumes_at_every_step(stop: int) -> None:
    whole = source(sizes(batch=BATCH))
    ids = [whole.next_step_batch().ids for _ in range(6)]
    before, after = source(sizes(batch=BATCH)), source(sizes(batch=BATCH))
    for _ in range(stop):
        before.next_step_batch()
    after.load_state_dict([before.state_dict()])
    assert [after.next_step_batch().ids for _ in range(6 - stop)] == ids[stop:]


def test_ranks_split_every_step() -> None:
    alone = source(sizes(batch=BATCH))
    parts = [source(sizes(batch=BATCH), Ranks(rank, 2)) for rank in range(2)]
    for _ in range(5):
        shares = [part.next_step_batch().ids for part in parts]
        assert [i for share in shares for i in share] == alone.next_step_batch().ids


def test_a_smaller_step_has_as_many_parts_and_the_last_ones_hold_its_samples() -> None:
    loader = StepLoader(source(sizes(batch=BATCH)), list, len, micro_batch=2, n_parts=4)
    parts = iter(loader)
    for n_samples in (2, 4, 6, 8):
        step = [next(parts) for _ in range(4)]
        assert [part.is_last for part in step] == [False, False, False, True]
        assert [part.batch is None for part in step] == [i < 4 - n_samples // 2 for i in range(4)]
        assert {part.step_count for part in step} == {n_samples}
        assert sum(len(part.batch or ()) for part in step) == n_samples


def test_parts_differ_in_size_by_at_most_1() -> None:
    assert split(range(7), 3) == [range(2), range(2, 4), range(4, 7)]


def test_the_length_of_a_run_counts_the_samples_of_its_steps() -> None:
    epoch = Epoch(steps=10.0, tokens=1000.0, sizes=sizes(batch=BATCH))
    assert epoch.n_steps(TrainerConfig(max_epochs=0.25)) == 4  # 20 samples
    assert epoch.n_steps(TrainerConfig(max_tokens=250)) == 4
    assert epoch.n_steps(TrainerConfig(max_tokens=251)) == 5
    summary = {"steps_per_epoch": 10.0, "metrics": {"tokens": 250, "step": 4}}
    assert measured_epoch(summary, epoch.sizes) == epoch


@pytest.mark.parametrize(
    ("step_sizes", "message"),
    [
        (sizes(batch={"start": 2, "steps": 9}), "in this run of 5 steps, the last one has"),
        (sizes(batch={"start": 3, "steps": 3}), "step 1 would have StepSize\\(samples=3"),
        (StepSizes(StepSize(8, 16), [lambda i, s: replace(s, length=1)]), "length=1"),
        (StepSizes(StepSize(8, 16), [lambda i, s: replace(s, span=0)]), "span=0"),
        (StepSizes(StepSize(8, 16), [lambda i, s: replace(s, samples=16)]), "samples=16"),
    ],
)
def test_impossible_sizes_are_refused_before_a_run(step_sizes: StepSizes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        step_sizes.refuse_invalid(["x"], steps=5, devices=2)


def test_an_objective_that_writes_its_own_samples_refuses_them(tmp_path: Path) -> None:
    config = tiny.experiment("grpo", tmp_path)
    with pytest.raises(ConfigError, match=r"ramp=\[batch\] has no effect: objective/grpo"):
        tiny.training_parts(replace(config, ramp=ramps(batch=BATCH)), tiny.remainder)


REFUSED: list[tuple[str, dict[str, int], str]] = [
    ("batch", {"start": 9}, "start must be at most 8, got 9"),
    ("length", {"start": 16}, "start must be 2 or more and below data.seq_len=16, got 16"),
    ("span", {"start": 16}, "start must be below data.seq_len=16, got 16"),
]


@pytest.mark.parametrize(("name", "values", "message"), REFUSED)
def test_a_start_above_the_full_size_is_refused(
    name: str, values: dict[str, int], message: str, tmp_path: Path
) -> None:
    config = replace(tiny.experiment("clm", tmp_path), ramp=ramps(**{name: values}))
    with pytest.raises(CompositionError, match=f"ramp.{name}: {message}"):
        check(config)


def test_the_batch_of_every_step_is_shared_by_all_devices(tmp_path: Path) -> None:
    config = config_of(tmp_path, devices=2)
    config = replace(config, ramp=ramps(batch={"start": 3, "steps": 3}))
    with pytest.raises(CompositionError, match=r"multiple of trainer.devices=2, got 3"):
        check(replace(config, strategy=tiny.part("strategy", "ddp")))


def test_rows_of_records_cannot_be_cut(tmp_path: Path) -> None:
    config = replace(tiny.experiment("dpo", tmp_path), ramp=ramps(length=LENGTH))
    with pytest.raises(CompositionError, match=r"ramp.length: only packed rows of raw text"):
        check(config)


def test_a_span_needs_a_mixer_with_a_window(tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path, architecture=tiny.stack(mixer="retention"))
    with pytest.raises(CompositionError, match=r"ramp.span: it has no effect, because no mixer"):
        check(replace(config, ramp=ramps(span=SPAN)))


def test_a_run_counts_its_tokens_and_does_not_depend_on_micro_batches(tmp_path: Path) -> None:
    lines = run(config_of(tmp_path), tmp_path / "two")
    other = run(config_of(tmp_path, micro_batch=8), tmp_path / "eight")
    for mine, theirs in zip(lines, other, strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-12)
        assert mine["samples"] == theirs["samples"]
    plain = replace(config_of(tmp_path), ramp=ramps(batch=BATCH))
    assert [line["tokens"] for line in run(plain, tmp_path / "plain")] == [
        line["tokens"] for line in lines
    ]  # shorter rows and windows have the same tokens


def test_a_run_resumes_at_every_step_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, write = config_of(tmp_path), RunWriter._write
    whole = run(config, tmp_path / "whole")

    def and_stop(self: RunWriter, line: dict[str, Any]) -> None:
        write(self, line)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "_write", and_stop)
        for _ in range(4):
            with pytest.raises(PreemptedError):
                run(config, tmp_path / "cut")
    assert run(config, tmp_path / "cut") == whole


def test_a_plan_counts_the_tokens_of_ramped_steps_and_the_memory_of_full_ones(
    tmp_path: Path,
) -> None:
    config = config_of(tmp_path)
    corpus = prepare(config)
    ramped = forecast(config, corpus)
    plain = forecast(replace(config, ramp={}), corpus)
    assert ramped.steps == plain.steps == 5
    assert ramped.per_device == plain.per_device
    assert ramped.tokens == pytest.approx(plain.tokens * 28 / 40)


def test_random_numbers_of_a_whole_row_are_those_without_a_ramp() -> None:
    keys: list[float] = []
    for made in (None, sizes(batch=BATCH)):
        read = EpochSource(range(10), lambda _, draw: draw.random(), 2, 0, Ranks())  # type: ignore[arg-type]
        read.sizes = made
        keys.append(read.next_step_batch().examples[0])
    assert keys[0] == keys[1]
    assert isinstance(keys[0], float | np.floating)
