"""Every file of a run that is read back is what was written: damage is noticed or repaired."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import tiny
from damages import all_files, cuts, flip

from etude.config.schema.experiment import ExperimentConfig
from etude.errors import CheckpointError
from etude.files import seal
from etude.files.manifest import fault_of
from etude.files.run_folder import step_lines
from etude.files.seal import (
    SEAL,
    read_sealed,
    remove_sealed,
    seal_logs,
    sealed_fault,
    truncate_after,
    write_sealed,
)
from etude.formats.model import read_model
from etude.training.run import start


def longer(config: ExperimentConfig, steps: int = 6) -> ExperimentConfig:
    return replace(config, trainer=replace(config.trainer, max_steps=steps))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExperimentConfig, Path]:
    """A finished run that has logs of callbacks, and kept its best weights."""
    folder = tmp_path_factory.mktemp("finished")
    given = {"max_steps": 4, "val_every": 2, "keep_best": "val/loss"}
    shape = tiny.stack(n_layers=1, position="rope", norm="rmsnorm", mlp="swiglu")
    config = tiny.experiment("clm", folder, trainer=given, architecture=shape)
    callback = {"samples": tiny.part("callback", "samples")}
    config = replace(config, run=str(folder / "run"), callback=callback)
    start(config, "tiny", [])
    return config, folder / "run"


def copied(finished: tuple[ExperimentConfig, Path], place: Path) -> tuple[ExperimentConfig, Path]:
    config, run = finished
    shutil.copytree(run, place / "run")
    return replace(config, run=str(place / "run")), place / "run"


def uses(config: ExperimentConfig, run: Path) -> Iterator[Any]:
    """Every way in which a run is read back; each raises an error for files that it needs."""
    yield lambda: read_model(run).network()
    yield lambda: read_model(run / "best").network()
    yield lambda: read_model(run / "model").network()
    yield lambda: start(config, "tiny", [])
    yield lambda: start(longer(config), "tiny", ["trainer.max_steps=6"])


def test_a_sealed_file_is_read_back_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    for text in ("one", "two"):
        write_sealed(file, text)
        assert read_sealed(file) == text
    for damaged in cuts(file.read_bytes()):
        file.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"a\.json has changed since it was written"):
            read_sealed(file)
    file.unlink()
    with pytest.raises(CheckpointError, match=r"a\.json is missing"):
        read_sealed(file)
    file.mkdir()
    with pytest.raises(CheckpointError, match=r"a\.json has changed"):
        read_sealed(file)


def test_a_removed_file_may_be_missing_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_sealed(file, "one")
    remove_sealed(file)
    remove_sealed(file)
    assert sealed_fault(file) is None
    file.write_text("one")
    assert sealed_fault(file) is not None


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_kill_at_any_instant_leaves_a_file_that_can_be_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / name
    texts = ["one\n", "one\ntwo\n", "one\n", None, "three\n"]
    left = [10**9]
    write_sealed(tmp_path / "first", "")

    def guarded(call: Any) -> Any:
        def guard(*arguments: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return call(*arguments)

        return guard

    for module, call in (seal, "write_atomic"), (seal, "write_signed"):
        monkeypatch.setattr(module, call, guarded(getattr(module, call)))
    before: str | None = None
    for text in texts:
        for calls in (0, 1, 2, 1, 0, 2, 9):
            left[0] = calls
            try:
                remove_sealed(file) if text is None else write_sealed(file, text)
            except KeyboardInterrupt:
                left[0] = 10**9
            assert sealed_fault(file) is None
            assert (file.read_text() if file.exists() else None) in (before, text)
        before = text


def test_a_log_may_grow_but_what_was_sealed_stays(tmp_path: Path) -> None:
    log = tmp_path / "steps.jsonl"
    lines = [json.dumps({"step": step, "text": "\u2028\x85"}) + "\n" for step in (1, 2, 3)]
    log.write_text("".join(lines), encoding="utf-8")
    seal_logs(tmp_path, 3)
    log.write_text("".join(lines) + '{"step": 4, "te', encoding="utf-8")
    assert sealed_fault(log) is None
    truncate_after(log, 2)
    assert log.read_text(encoding="utf-8") == "".join(lines[:2])
    assert sealed_fault(log) is None
    log.write_text("".join(lines[:1]), encoding="utf-8")
    assert sealed_fault(log) is not None


@pytest.mark.parametrize(
    "line", ["[]", "7", "{}", '{"step": "x"}', '{"step": []}', "\xff", "[" * 9999]
)
def test_a_line_that_is_no_step_ends_a_log(line: str, tmp_path: Path) -> None:
    log = tmp_path / "steps.jsonl"
    log.write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n', encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"steps\.jsonl cannot be read"):
        step_lines(tmp_path)
    truncate_after(log, 5)
    assert step_lines(tmp_path) == [{"step": 1}]


def test_every_file_of_a_run_is_sealed(finished: tuple[ExperimentConfig, Path]) -> None:
    _, run = finished
    folders = ("tokenizer", "model", "best", "checkpoints")
    files = {file for file in all_files(run) if file.relative_to(run).parts[0] not in folders}
    assert {*files} - {run / SEAL} == {*seal.sealed_files(run)}
    for folder in (*map(run.joinpath, folders[:3]), *(run / "checkpoints").iterdir()):
        assert (folder / "manifest.json").exists()


def notices(config: ExperimentConfig, run: Path) -> bool:
    """Whether a use of the run ends with an error of a damaged file."""
    for use in uses(config, run):
        try:
            use()
        except CheckpointError:
            return True
    return False


def check_flips(
    finished: tuple[ExperimentConfig, Path], place: Path, random: Random, n_files: int | None
) -> None:
    """Flips a bit in some files of a run; each is noticed, or the file is written again."""
    names = [file.relative_to(finished[1]) for file in all_files(finished[1])]
    for name in names if n_files is None else random.sample(names, n_files):
        config, run = copied(finished, place)
        flip(run / name, random)
        if name.parts[0] == "checkpoints":  # another one is used, or this one is not needed
            assert fault_of((run / name).parent) is not None
        else:
            is_repaired = not notices(config, run) and sealed_fault(run / name) is None
            assert is_repaired == (name.name in ("hardware.json", "samples.txt")), name
        shutil.rmtree(place)


def test_a_flipped_bit_in_a_file_of_a_run_is_noticed_or_repaired(
    finished: tuple[ExperimentConfig, Path], tmp_path: Path
) -> None:
    check_flips(finished, tmp_path / "copy", Random(0), n_files=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_flipped_bit_in_any_file_of_a_run_is_noticed_or_repaired(
    seed: int, finished: tuple[ExperimentConfig, Path], tmp_path: Path
) -> None:
    check_flips(finished, tmp_path / "copy", Random(seed), n_files=None)


@pytest.mark.parametrize("name", ["config.yaml", "steps.jsonl", "tokenizer/tokenizer.json"])
def test_a_cut_or_missing_file_stops_a_run_that_resumes(
    name: str, finished: tuple[ExperimentConfig, Path], tmp_path: Path
) -> None:
    config, run = copied(finished, tmp_path / "copy")
    whole = (run / name).read_bytes()
    for damaged in cuts(whole):
        if name.endswith("jsonl") and damaged.startswith(whole):
            continue  # an incomplete line of a killed run, which is dropped
        (run / name).write_bytes(damaged)
        before = {file: file.read_bytes() for file in all_files(run)}
        with pytest.raises(CheckpointError, match=Path(name).name):
            start(longer(config), "tiny", ["trainer.max_steps=6"])
        assert {file: file.read_bytes() for file in all_files(run)} == before
    (run / name).unlink()
    with pytest.raises(CheckpointError, match=Path(name).name):
        start(longer(config), "tiny", ["trainer.max_steps=6"])
