import errno
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from etude.errors import CheckpointError, DiskFullError
from etude.files.atomic import write_whole
from etude.formats import checkpoint
from etude.formats.checkpoint import (
    MANIFEST,
    TreeCheckpointIO,
    checkpoints,
    fault_of,
    newest_intact,
    path_of,
    retire,
    write_sealed_folder,
)
from etude.formats.state_tree import read_tree, write_tree

TREE = {"a": torch.arange(3.0), 1: "text"}


def write(folder: Path, value: int = 0) -> Path:
    write_sealed_folder(
        folder, lambda inside: write_tree(TREE | {"value": value}, inside), {"step": 3}
    )
    return folder


def held(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_whole_and_alone(tmp_path: Path) -> None:
    folder = write(tmp_path / "step-1")
    assert fault_of(folder) is None
    assert held(tmp_path) == ["step-1"]
    assert read_tree(folder)["value"] == 0


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    folder = write(tmp_path / "step-1")
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        for place in range(0, len(whole), 1 if file.name == MANIFEST else 3):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << place % 8
            file.write_bytes(flipped)
            assert fault_of(folder) is not None, (file.name, place)
        file.write_bytes(whole)
    assert fault_of(folder) is None


@pytest.mark.slow
def test_every_single_bit_of_a_checkpoint_counts(tmp_path: Path) -> None:
    folder = write(tmp_path / "step-1")
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        for bit in range(8 * len(whole)):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            file.write_bytes(flipped)
            assert fault_of(folder) is not None, (file.name, bit)
        file.write_bytes(whole)


def test_truncated_and_missing_files_are_noticed_by_name(tmp_path: Path) -> None:
    folder = write(tmp_path / "step-1")
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        for size in (0, 1, len(whole) // 2, len(whole) - 1):
            file.write_bytes(whole[:size])
            assert file.name in str(fault_of(folder))
        file.unlink()
        assert file.name in str(fault_of(folder))
        file.write_bytes(whole)
    assert fault_of(folder) is None


def damage(folder: Path) -> None:
    file = folder / "tree.json"
    file.write_bytes(file.read_bytes()[:-1] + b" ")


def test_the_newest_intact_is_used_and_damaged_ones_are_named(tmp_path: Path) -> None:
    assert newest_intact(tmp_path) is None
    first, second = (write(path_of(tmp_path, step)) for step in (9, 10))
    assert newest_intact(tmp_path) == second
    damage(second)
    with pytest.warns(UserWarning, match=r"damaged, not used: .*step-000000010: tree\.json has ch"):
        assert newest_intact(tmp_path) == first
    damage(first)
    with pytest.raises(CheckpointError, match=r"(?s)step-000000010: tree.*step-000000009: tree"):
        newest_intact(tmp_path)


@pytest.mark.parametrize("keep", [1, 2])
def test_what_was_just_written_stays_and_damaged_later_ones_go(tmp_path: Path, keep: int) -> None:
    for step in (10, 20, 30):
        write(path_of(tmp_path, step))
    damage(path_of(tmp_path, 30))
    newest = write(path_of(tmp_path, 25))
    retire(newest, keep)
    wanted = [path_of(tmp_path, step) for step in (25, 20)][:keep]
    assert checkpoints(tmp_path) == wanted
    assert newest_intact(tmp_path) == newest


class Trap:
    """Lets the first `left` calls of the file system pass, and fails every later one.

    Whatever stands at `place` when a call is made must be whole: a kill could come just then.
    """

    NAMES = ("mkdir", "open", "fsync", "rename", "rmdir", "unlink", "replace", "chmod", "utime")

    def __init__(self, patch: pytest.MonkeyPatch, error: type[BaseException], place: Path) -> None:
        self.left = 10**9
        self.calls = 0
        self.place = place
        for name in self.NAMES:
            patch.setattr(os, name, self.guarded(getattr(os, name), error))
        for name in ("mkdir", "rename", "write_text"):
            patch.setattr(Path, name, self.guarded(getattr(Path, name), error))
        patch.setattr(checkpoint, "write_tree", self.guarded(write_tree, error))

    def guarded(self, call: Any, error: type[BaseException]) -> Any:  # any function of `os`
        def guard(*given: Any, **more: Any) -> Any:
            self.calls += 1
            if self.left < 10**9 and self.place.exists():
                assert fault_of(self.place) is None
            if self.calls > self.left:
                raise error(errno.EIO, "the disk is gone")
            return call(*given, **more)

        return guard


@pytest.fixture
def trap() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        yield lambda error, place: Trap(patch, error, place)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_whatever_call_fails_the_older_checkpoints_are_whole(
    error: type[BaseException], trap: Any, tmp_path: Path
) -> None:
    old, folder = write(path_of(tmp_path, 1), 1), path_of(tmp_path, 2)
    made: Trap = trap(error, folder)
    write(folder)
    n_calls = made.calls
    assert n_calls > 10
    for left in range(n_calls):
        made.calls, made.left = 0, 10**9
        shutil.rmtree(folder, ignore_errors=True)
        made.calls, made.left = 0, left
        with suppress(error):
            write(folder, 2)
        made.calls, made.left = 0, 10**9
        assert fault_of(old) is None
        if folder.exists():
            assert fault_of(folder) is None
        assert newest_intact(tmp_path) in (old, folder)
    write(folder, 3)
    assert held(tmp_path) == [old.name, folder.name]  # no litter is left behind


def test_a_folder_written_again_is_the_old_one_or_the_new(trap: Any, tmp_path: Path) -> None:
    folder = write(tmp_path / "model", 1)
    made: Trap = trap(OSError, folder)
    write(folder, 1)
    n_calls = made.calls
    for left in range(n_calls):
        made.calls, made.left = 0, left
        with suppress(OSError):
            write(folder, left)
        made.calls, made.left = 0, 10**9
        if folder.exists():
            assert fault_of(folder) is None
        else:  # the disk failed twice, also while the old one was put back
            assert fault_of(tmp_path / ".model.old") is None
            (tmp_path / ".model.old").rename(folder)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named(number: int, tmp_path: Path) -> None:
    def fill(inside: Path) -> None:
        raise OSError(number, "no space")

    old = write(path_of(tmp_path, 1))
    with pytest.raises(DiskFullError, match=r"No space left while writing .*step-000000002"):
        write_sealed_folder(path_of(tmp_path, 2), fill)
    assert held(tmp_path) == [old.name]


def test_lightning_saves_and_loads_through_it(tmp_path: Path) -> None:
    io, folder = TreeCheckpointIO(), tmp_path / "step-7"
    io.save_checkpoint({"global_step": 7, "state": TREE}, folder)
    assert io.load_checkpoint(folder)["state"][1] == "text"
    assert '"step": 7' in (folder / MANIFEST).read_text()
    damage(folder)
    with pytest.raises(CheckpointError, match=r"tree\.json has changed"):
        io.load_checkpoint(folder)
    io.remove_checkpoint(folder)
    assert held(tmp_path) == []


def test_a_file_that_several_write_at_once_is_that_of_one_of_them(tmp_path: Path) -> None:
    """As the first jobs of a sweep do with what they find out about the machine."""
    texts = [letter * 10_000 for letter in "abcd"]
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(lambda text: [write_whole(tmp_path / "file", text) for _ in range(10)], texts)
        )
    assert (tmp_path / "file").read_text(encoding="utf-8") in texts
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
