import errno
import resource
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from etude.errors import DiskFullError
from etude.files.atomic import write_atomic
from etude.files.cache import cached_folder
from etude.files.disk import disk_full_error, is_full
from etude.formats.checkpoint import write_sealed_folder
from etude.formats.state_tree import save_tensors, write_tree


@contextmanager
def file_limit(size: int) -> Generator[None]:
    """Lets the system refuse files larger than this, as a full disk would."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def write_array(folder: Path) -> None:
    np.save(folder / "a.npy", np.zeros(99_999))


def write_tensors(folder: Path) -> None:
    save_tensors({"a": torch.zeros(99_999)}, folder / "a.safetensors")


def write_text(folder: Path) -> None:
    write_atomic(folder / "a.txt", "a" * 99_999)


@pytest.mark.parametrize("write", [write_array, write_tensors, write_text])
def test_whatever_writes_a_full_disk_is_an_os_error_and_then_one_error(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    refused = pytest.raises(DiskFullError, match="while writing")
    with refused as refusal, file_limit(50_000), disk_full_error():
        write(tmp_path)
    cause = refusal.value.__cause__
    assert isinstance(cause, OSError)
    assert is_full(cause)


@pytest.mark.parametrize("write", [write_array, write_tensors, write_text])
def test_a_full_disk_leaves_neither_a_sealed_folder_nor_a_cached_one(
    write: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETUDE_CACHE", str(tmp_path / "cache"))
    with file_limit(50_000), pytest.raises(DiskFullError, match="model"):
        write_sealed_folder(tmp_path / "model", write)
    with file_limit(50_000), pytest.raises(DiskFullError, match="prepared data"):
        cached_folder("kind/digest", write)
    assert not [*tmp_path.glob("*model*"), *tmp_path.glob("cache/kind/*digest/*")]
    write_sealed_folder(tmp_path / "model", write)
    assert cached_folder("kind/digest", write).is_dir()


def test_another_failure_of_safetensors_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as refusal:
        write_tree({"a": torch.zeros(2)}, tmp_path / "missing")
    assert refusal.value.errno == errno.ENOENT
    assert not is_full(refusal.value)
    with pytest.raises(OSError, match="No such file"), disk_full_error():
        write_tree({"a": torch.zeros(2)}, tmp_path / "missing")
