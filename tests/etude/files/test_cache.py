"""Prepared data that was damaged on disk is never used: it is prepared again, with a line."""

import hashlib
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import tiny
from damages import all_files, cuts, flip

from etude.config.schema.experiment import ExperimentConfig
from etude.data.corpus import prepare
from etude.files import cache
from etude.files.cache import cached_folder, is_cached, root
from etude.rl.judge import AnswerCache


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ETUDE_CACHE", str(tmp_path / "cache"))
    return root()


def content(config: ExperimentConfig) -> tuple[str, list[list[int]], list[str]]:
    """Everything that training reads of the data of an experiment."""
    corpus = prepare(config)
    rows = [corpus.train[i].tokens.tolist() for i in range(len(corpus.train))]
    return str(corpus.card), rows, list(corpus.val_text())


@pytest.fixture
def config(tmp_path: Path) -> ExperimentConfig:
    config = tiny.experiment("clm", tmp_path)
    return replace(config, tokenizer=tiny.part("tokenizer", "bpe", vocab_size=370))


def prepared(own_cache: Path) -> list[Path]:
    """The files of the cached folders."""
    return [file for file in all_files(own_cache) if file.parent.parent.parent == own_cache]


def test_cached_files_that_were_cut_in_half_are_prepared_again(
    config: ExperimentConfig, own_cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = content(config)
    names = ("tokens", "records.jsonl.gz", "tokenizer.json")
    for file in [file for file in prepared(own_cache) if file.name in names]:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        assert content(config) == good
        assert capfd.readouterr().err.count("is damaged and is prepared again") == 1


@pytest.mark.slow
def test_every_damaged_cache_file_is_prepared_again(
    config: ExperimentConfig, own_cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = content(config)
    files = prepared(own_cache)
    assert {"tokens", "records.jsonl.gz", "tokenizer.json", "held_out.npy"} < {
        f.name for f in files
    }
    n_rebuilt = 0
    for file in files:
        whole = file.read_bytes()
        damages = [*cuts(whole), b"[" * 99999, b"\x93NUMPY\x01\x00garbage", b"{}"]
        for damaged in [one for one in damages if one != whole]:
            file.write_bytes(damaged)
            capfd.readouterr()
            assert content(config) == good, file
            assert capfd.readouterr().err.count("is damaged and is prepared again") == 1
            assert file.read_bytes() == whole
            n_rebuilt += 1
    assert n_rebuilt >= 80


@pytest.mark.slow
def test_missing_files_and_folders_in_the_place_of_files_are_prepared_again(
    config: ExperimentConfig, own_cache: Path
) -> None:
    good = content(config)
    for file in prepared(own_cache):
        file.unlink()
        assert content(config) == good
        file.unlink()
        file.mkdir()
        assert content(config) == good
    for folder in own_cache.glob("*/*"):
        if folder.is_dir():
            shutil.rmtree(folder)
            assert content(config) == good


@pytest.mark.slow
def test_flipped_bits_in_the_cache_never_change_the_data(
    config: ExperimentConfig, own_cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = content(config)
    random = Random(0)
    for _ in range(3):
        for file in prepared(own_cache):
            flip(file, random)
            assert content(config) == good
            assert "is prepared again" in capfd.readouterr().err


def test_a_cached_folder_is_intact_only_with_all_of_its_files(own_cache: Path) -> None:
    assert not is_cached("kind/a")
    folder = cached_folder("kind/a", lambda inside: (inside / "x").mkdir())
    assert is_cached("kind/a")

    def write(inside: Path) -> None:
        (inside / "x").write_text("x")

    folder = cached_folder("kind/b", write)
    assert is_cached("kind/b")
    (folder / "x").write_text("y")
    assert not is_cached("kind/b")


def test_a_large_file_is_read_again_only_after_a_change(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "LARGE_BYTES", 4)
    monkeypatch.setattr(cache, "SETTLED_S", 0.0)
    file = tmp_path / "large.txt"
    file.write_bytes(b"first")
    time.sleep(0.02)  # longer than the clock of a file system ticks
    first = cache.file_digest(file)
    (memo,) = all_files(own_cache)
    with monkeypatch.context() as without_reading:
        without_reading.delattr(cache, "sha256")
        assert cache.file_digest(file) == first == hashlib.sha256(b"first").hexdigest()
    times = file.stat()
    file.write_bytes(b"other")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert cache.file_digest(file) == hashlib.sha256(b"other").hexdigest()
    memo.write_bytes(memo.read_bytes().replace(b"digest", b"digits"))
    assert cache.file_digest(file) == hashlib.sha256(b"other").hexdigest()
    (tmp_path / "new.txt").write_bytes(b"third")
    (tmp_path / "new.txt").replace(file)
    assert cache.file_digest(file) == hashlib.sha256(b"third").hexdigest()


def test_a_file_that_has_just_changed_is_always_read(own_cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "large.txt"
    file.write_bytes(bytes(cache.LARGE_BYTES))
    cache.file_digest(file)
    assert not all_files(own_cache)


def test_a_damaged_answer_of_a_judge_is_asked_again(own_cache: Path) -> None:
    answers = AnswerCache()
    for answer in (0.25, "A", None, [1, 2]):
        answers.put("question", answer)
        assert answers.get("question") == answer
    (file,) = all_files(own_cache)
    for damaged in cuts(file.read_bytes()):
        file.write_bytes(damaged)
        assert answers.get("question") is None
