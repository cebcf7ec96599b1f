"""W&B never blocks a run: without account, server or helper process the run continues."""

import json
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import wandb as service
from defaults import default

from etude.config.registry import build
from etude.training.run import start

SECRET = "k" * 20 + "s" * 20


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine without credentials."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no_netrc"))
    yield tmp_path
    with suppress(Exception):  # its helper may be dead
        service.teardown()


@pytest.fixture
def dead_server(offline: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with credentials for a server that refuses connections."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    return offline


def run(
    folder: Path, place: Path, steps: int = 3, init_from: Path | None = None, **given: Any
) -> None:
    trainer = {"max_steps": steps, "log_every": 1, "val_samples": 2}
    config = tiny.experiment("clm", folder, trainer=trainer)
    logger = {"wandb": default("logger/wandb", **given)}
    config = replace(config, logger=logger, callback={"samples": default("callback/samples")})
    parent = None if init_from is None else str(init_from)
    config = replace(config, run=str(place), init_from=parent)
    start(config, "tiny", ["trainer.max_steps=" + str(steps)])


def records(file: Path) -> Iterator[Any]:
    """The records of a `.wandb` file: LevelDB's log format, after a header of 7 bytes."""
    kind_of_record = import_module("wandb.proto.wandb_internal_pb2").Record
    data, place, held = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", data[place : place + 7])
        held += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            record = kind_of_record()
            record.ParseFromString(held)
            held = b""
            yield record


def kept(place: Path) -> dict[str, Any]:
    """The history, config, run and exit code of a finished offline run in a folder."""
    for _ in range(50):  # the helper writes the end of a run in its own time
        found = read(place)
        if found["exit"] is not None:
            return found
        time.sleep(0.1)
    raise AssertionError("the run does not end")


def read(place: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"history": [], "config": {}, "exit": None, "artifacts": {}}
    *_, file = sorted(place.glob("wandb/offline-run-*/*.wandb"))
    for record in records(file):
        kind = record.WhichOneof("record_type")
        if kind == "history":
            items = {item.key or ".".join(item.nested_key): item for item in record.history.item}
            line = {name: json.loads(item.value_json) for name, item in items.items()}
            found["history"].append(line)
        elif kind in ("config", "run"):
            given = record.config if kind == "config" else record.run.config
            for item in given.update:
                found["config"][item.key or ".".join(item.nested_key)] = item.value_json
            if kind == "run":
                found["run"] = record.run
        elif kind == "request":
            if record.request.WhichOneof("request_type") == "log_artifact":
                artifact = record.request.log_artifact.artifact
                found["artifacts"][artifact.name] = artifact
        elif kind == "artifact":
            found["artifacts"][record.artifact.name] = record.artifact
        elif kind == "exit":
            found["exit"] = record.exit.exit_code
    return found


def test_the_same_folder_gives_the_same_run_id(offline: Path) -> None:
    first, again, other = (build(default("logger/wandb"), offline / x) for x in ("a", "a", "b"))
    assert first.version == again.version != other.version


def test_the_default_group_is_the_parent_folder(offline: Path) -> None:
    assert build(default("logger/wandb"), offline / "sweep" / "0").group == "sweep"
    assert build(default("logger/wandb", group="mine"), offline).group == "mine"


def test_it_is_offline_without_credentials_and_online_with_them(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mode = import_module("etude.plugins.logger.wandb").mode
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert mode() == "offline"
    (offline / "no_netrc").write_text("machine api.wandb.ai login user password " + SECRET)
    assert mode() == "offline"  # those are of another server
    (offline / "no_netrc").write_text("machine wandb.example.org login user password " + SECRET)
    assert mode() == "online"
    (offline / "no_netrc").write_text("machine machine machine")
    assert mode() == "offline"
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    assert mode() == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert mode() == "disabled"


def test_a_timeout_shorter_than_the_offline_fallback_is_refused() -> None:
    with pytest.raises(ValueError, match="timeout_s must be at least 5, got 2"):
        default("logger/wandb", timeout_s=2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_an_offline_run_contains_metrics_texts_and_config_but_no_secret(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", SECRET)
    run(offline, offline / "sweep" / "0")
    found = kept(offline / "sweep" / "0")
    numbers = [line for line in found["history"] if "loss" in line]
    steps = tiny.untimed_steps(offline / "sweep" / "0")
    assert [line["step"] for line in numbers] == [1, 2, 3]
    assert [line["loss"] for line in numbers] == [line["loss"] for line in steps]
    assert any(name.startswith("samples") for line in found["history"] for name in line)
    assert found["config"]["optimizer.lr"] == "0.001"
    assert found["config"]["objective"] == '"objective/clm"'
    assert (found["run"].run_group, found["exit"]) == ("sweep", 0)
    assert service.run is None
    files = [path for path in (offline / "sweep").rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


@pytest.mark.parametrize("path", ["corp", "corp/**", "corp/*/*.txt"])
def test_the_files_behind_a_folder_or_a_pattern_are_an_artifact_without_hidden_ones(
    path: str, tmp_path: Path
) -> None:
    for name in ("corp/a/x.txt", "corp/b/x.txt", "corp/.env", "corp/.git/x.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "data_card.json").write_text('{"digest": "0123456789abcdef"}')
    logger = build(default("logger/wandb", data=True), tmp_path)
    logger.config_values = {"data.path": f"{tmp_path}/{path}"}
    entries = logger._data().manifest.entries
    assert set(entries) == {"data_card.json", "files/a/x.txt", "files/b/x.txt"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_data_checkpoint_and_parents_are_artifacts(offline: Path) -> None:
    base, tuned = offline / "base", offline / "tuned"
    run(offline, base, checkpoints=True, data=True)
    run(offline, tuned, init_from=base)
    first, second = kept(base)["artifacts"], kept(tuned)["artifacts"]
    digest = json.loads((base / "data_card.json").read_text())["digest"]
    held = {a.type: {c.path for c in a.manifest.contents} for a in first.values()}
    assert held["dataset"] == {"data_card.json", "files/lines.txt"}
    assert {"step-000000003/manifest.json", "step-000000003/tensors.safetensors"} <= (
        held["checkpoint"]
    )
    assert f"data-{digest[:12]}" in first
    parent = json.loads((tuned / "parents.json").read_text())["init_from"]
    used = [a for a in second.values() if a.use_after_commit]
    assert [a.name for a in used] == [f"run-{parent[:12]}"]
    assert json.loads(used[0].metadata)["run"] == str(base)
    assert {a.type for a in second.values()} == {
        "model",
        "run_table",
    }  # the rest is off by default
    table = next((tuned / "wandb").glob("offline-run-*/files/media/table/*.json"))
    content = json.loads(table.read_text())
    assert content["columns"] == ["step", "number", "text"]
    shown = [json.loads(line) for line in (tuned / "samples.jsonl").read_text().splitlines()]
    texts = {row["step"]: row["texts"] for row in shown}
    assert [text for _, _, text in content["data"]] == texts[content["data"][0][0]]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_tags_and_pictures_reach_the_run(offline: Path) -> None:
    place = offline / "tagged"
    place.mkdir()
    logger = build(default("logger/wandb"), place)
    logger.log_hyperparams({"tags": ["long"], "seed": 0})
    logger.log_picture("map", np.full((2, 5, 3), 200, np.uint8), 3)
    logger.finalize("success")
    assert list(kept(place)["run"].tags) == ["long"]
    (file,) = place.glob("wandb/offline-run-*/files/media/images/map*.png")
    assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_resumed_run_keeps_its_id(offline: Path) -> None:
    place = offline / "long"
    run(offline, place, steps=2)
    first = kept(place)
    time.sleep(1.1)  # offline folders are named by the second
    run(offline, place, steps=4)
    second = kept(place)
    assert first["run"].run_id == second["run"].run_id
    numbers = [
        [line["step"] for line in one["history"] if "loss" in line] for one in (first, second)
    ]
    assert numbers == [[1, 2], [3, 4]]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_failed_run_is_finished_and_the_next_one_is_separate(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr("etude.training.validation.Validation.measure", fail)
        with pytest.raises(RuntimeError):
            run(offline, offline / "first")
    assert service.run is None
    run(offline, offline / "second")
    first, second = kept(offline / "first"), kept(offline / "second")
    assert (first["exit"], second["exit"]) == (1, 0)
    assert first["run"].run_id != second["run"].run_id


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_refusing_server_delays_a_run_by_at_most_timeout_s(dead_server: Path) -> None:
    logger = build(default("logger/wandb", timeout_s=5), dead_server)
    service.setup()
    began = time.perf_counter()
    logger.log_hyperparams({"seed": 0})
    assert time.perf_counter() - began <= 5
    logger.log_metrics({"loss": 1.0}, 1)
    logger.finalize("success")
    assert kept(dead_server)["exit"] == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_dead_helper_process_is_dropped_and_the_next_run_gets_a_new_one(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from etude.training.run_writer import RunWriter

    track = RunWriter._track

    def and_kill(self: RunWriter, trainer: Any, line: Any) -> None:
        track(self, trainer, line)
        if line["step"] == 1:
            for helper in helpers():
                os.kill(helper, signal.SIGKILL)
            time.sleep(0.3)

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "_track", and_kill)
        run(offline, offline / "first")
    assert len(tiny.untimed_steps(offline / "first")) == 3
    run(offline, offline / "second")
    assert kept(offline / "second")["exit"] == 0


def helpers() -> list[int]:
    """The helper processes of W&B that this process started."""
    command = ["ps", "--ppid", str(os.getpid()), "-o", "pid=,comm="]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [int(line.split()[0]) for line in lines if "wandb" in line]
