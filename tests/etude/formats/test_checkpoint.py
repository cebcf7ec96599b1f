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
from etude.files.atomic import write_atomic
from etude.files.manifest import MANIFEST, fault_of
from etude.formats.checkpoint import (
    checkpoints,
    delete_old,
    newest_intact,
    path_of,
    write_sealed_folder,
)
from etude.formats.state_tree import read_tree, write_tree

TREE = {"a": torch.arange(3.0), 1: "text"}


def write(folder: Path, value: int = 0) -> Path:
    write_sealed_folder(
        folder, lambda inside: write_tree(TREE | {"value": value}, inside), {"step": 3}
    )
    return folder


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_written_folder_is_intact_and_leaves_no_other_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "step-1")
    assert fault_of(folder) is None
    assert names_in(tmp_path) == ["step-1"]
    assert read_tree(folder)["value"] == 0


def test_flipped_bits_are_detected(tmp_path: Path) -> None:
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
def test_every_single_flipped_bit_is_detected(tmp_path: Path) -> None:
    folder = write(tmp_path / "step-1")
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        for bit in range(8 * len(whole)):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            file.write_bytes(flipped)
            assert fault_of(folder) is not None, (file.name, bit)
        file.write_bytes(whole)


def test_truncated_and_missing_files_are_reported_by_name(tmp_path: Path) -> None:
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


def test_the_newest_intact_checkpoint_is_used_and_damaged_ones_are_reported(tmp_path: Path) -> None:
    assert newest_intact(tmp_path) is None
    first, second = (write(path_of(tmp_path, step)) for step in (9, 10))
    assert newest_intact(tmp_path) == second
    damage(second)
    with pytest.warns(UserWarning, match=r"are skipped: .*step-000000010: tree\.json has changed"):
        assert newest_intact(tmp_path) == first
    damage(first)
    with pytest.raises(CheckpointError, match=r"(?s)step-000000010: tree.*step-000000009: tree"):
        newest_intact(tmp_path)


@pytest.mark.parametrize("keep", [1, 2])
def test_the_newest_checkpoints_are_kept_and_later_damaged_ones_deleted(
    tmp_path: Path, keep: int
) -> None:
    for step in (10, 20, 30):
        write(path_of(tmp_path, step))
    damage(path_of(tmp_path, 30))
    newest = write(path_of(tmp_path, 25))
    delete_old(newest, keep)
    wanted = [path_of(tmp_path, step) for step in (25, 20)][:keep]
    assert checkpoints(tmp_path) == wanted
    assert newest_intact(tmp_path) == newest


class Trap:
    """Lets the first `left` file system calls succeed and makes every later one fail.

    If `place` exists when a call is made, it must be intact: the process may be killed then.
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

    def guarded(self, call: Any, error: type[BaseException]) -> Any:  # any function of `os`
        def guard(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.left < 10**9 and self.place.exists():
                assert fault_of(self.place) is None
            if self.calls > self.left:
                raise error(errno.EIO, "the disk failed")
            return call(*args, **kwargs)

        return guard


@pytest.fixture
def trap() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        yield lambda error, place: Trap(patch, error, place)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_older_checkpoints_stay_intact_whichever_call_fails(
    error: type[BaseException], trap: Any, tmp_path: Path
) -> None:
    old, folder = write(path_of(tmp_path, 1), 1), path_of(tmp_path, 2)
    trapped: Trap = trap(error, folder)
    write(folder)
    n_calls = trapped.calls
    assert n_calls > 10
    for left in range(n_calls):
        trapped.calls, trapped.left = 0, 10**9
        shutil.rmtree(folder, ignore_errors=True)
        trapped.calls, trapped.left = 0, left
        with suppress(error):
            write(folder, 2)
        trapped.calls, trapped.left = 0, 10**9
        assert fault_of(old) is None
        if folder.exists():
            assert fault_of(folder) is None
        assert newest_intact(tmp_path) in (old, folder)
    write(folder, 3)
    assert names_in(tmp_path) == [old.name, folder.name]  # no temporary files remain


def test_an_overwritten_folder_is_either_the_old_or_the_new_one(trap: Any, tmp_path: Path) -> None:
    folder = write(tmp_path / "model", 1)
    trapped: Trap = trap(OSError, folder)
    write(folder, 1)
    n_calls = trapped.calls
    for left in range(n_calls):
        trapped.calls, trapped.left = 0, left
        with suppress(OSError):
            write(folder, left)
        trapped.calls, trapped.left = 0, 10**9
        if folder.exists():
            assert fault_of(folder) is None
        else:  # the disk also failed while the old folder was restored
            assert fault_of(tmp_path / ".model.old") is None
            (tmp_path / ".model.old").rename(folder)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_reported_with_the_folder(number: int, tmp_path: Path) -> None:
    def fill(inside: Path) -> None:
        raise OSError(number, "no space")

    old = write(path_of(tmp_path, 1))
    with pytest.raises(DiskFullError, match=r"No space left while writing .*step-000000002"):
        write_sealed_folder(path_of(tmp_path, 2), fill)
    assert names_in(tmp_path) == [old.name]


def test_concurrent_writers_leave_the_complete_file_of_one_of_them(tmp_path: Path) -> None:
    """The first jobs of a sweep write the measured speed of the machine concurrently."""
    texts = [letter * 10_000 for letter in "abcd"]
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(lambda text: [write_atomic(tmp_path / "file", text) for _ in range(10)], texts)
        )
    assert (tmp_path / "file").read_text(encoding="utf-8") in texts
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
