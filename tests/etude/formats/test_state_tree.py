import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from etude.errors import CheckpointError
from etude.formats.state_tree import TENSORS, TREE, read_tree, write_tree

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    tensor = torch.arange(int(np.prod(shape)) * 2).view(*shape, 2).to(draw(st.sampled_from(DTYPES)))
    tensor = tensor if draw(st.booleans()) else tensor.flip(-1)
    return draw(st.sampled_from([tensor, tensor[..., 0], tensor.transpose(0, -1)]))


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    dtype = draw(st.sampled_from([np.float64, np.float32, np.int64, np.uint32, np.bool_]))
    array = np.arange(6).reshape(2, 3).astype(dtype)
    views: list[Any] = [array, array.T, array[0], array[:0], np.array(5, dtype), array[:, ::2]]
    return draw(st.sampled_from(views))


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
keys = st.text(max_size=3) | st.integers(-3, 3) | st.sampled_from(["$tuple", "$tensor", "/", "1"])
trees = st.recursive(
    scalars | tensors() | arrays(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys | st.booleans() | st.tuples(st.integers(0, 2)), inner, max_size=4)
    ),
    max_leaves=12,
)


def assert_same(found: Any, wanted: Any) -> None:
    """Asserts equal values and types at every level."""
    assert type(found) is type(wanted)
    if isinstance(wanted, torch.Tensor):
        assert found.dtype == wanted.dtype
        assert found.shape == wanted.shape
        assert torch.equal(found, wanted)
    elif isinstance(wanted, np.ndarray):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted, strict=True)
    elif isinstance(wanted, dict):
        assert [(k, type(k)) for k in found] == [(k, type(k)) for k in wanted]
        for key in wanted:
            assert_same(found[key], wanted[key])
    elif isinstance(wanted, list | tuple):
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted, strict=True):
            assert_same(a, b)
    else:
        assert found == wanted or (found != found and wanted != wanted)


@settings(max_examples=250, deadline=None)
@given(tree=trees)
def test_a_tree_is_restored_with_its_types(
    tree: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    write_tree(tree, folder)
    assert_same(read_tree(folder), tree)


def round_trip(tree: Any, folder: Path) -> Any:
    write_tree(tree, folder)
    return read_tree(folder)


def test_save_load_save_is_identical(tmp_path: Path) -> None:
    tree = {"a": torch.randn(3), 1: (np.arange(3), [None, True, 0.1]), "b": {"c": {}}}
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    write_tree(round_trip(tree, first), second)
    for name in (TREE, TENSORS):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_tied_tensors_stay_tied_and_are_written_once(tmp_path: Path) -> None:
    table = nn.Parameter(torch.randn(4, 4))
    tree = {"head": table, "embedding": table.detach(), "transposed": table.detach().T}
    found = round_trip(tree, tmp_path)
    assert found["head"] is found["embedding"]
    assert torch.equal(found["transposed"], table.detach().T)
    assert (tmp_path / TENSORS).stat().st_size < 3 * 64 + 300


def test_views_of_one_storage_are_restored_as_separate_tensors(tmp_path: Path) -> None:
    whole = torch.arange(6.0)
    found = round_trip([whole, whole[:3], whole[3:], whole.view(2, 3)], tmp_path)
    assert_same(found, [whole, whole[:3], whole[3:], whole.view(2, 3)])


def test_keys_with_the_same_path_keep_their_own_tensors(tmp_path: Path) -> None:
    tree = {1: torch.ones(2), "1": torch.zeros(2), "a/b": torch.ones(1), "a": {"b": torch.zeros(1)}}
    assert_same(round_trip(tree, tmp_path), tree)


def test_the_moments_of_adamw_are_restored(tmp_path: Path) -> None:
    """In plain JSON its integer keys would become strings, and it would silently load nothing."""
    module = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(3)).sum().backward()
    optimizer.step()
    again = torch.optim.AdamW(module.parameters())
    again.load_state_dict(round_trip(optimizer.state_dict(), tmp_path))
    for parameter in module.parameters():
        for name in ("exp_avg", "exp_avg_sq", "step"):
            assert torch.equal(again.state[parameter][name], optimizer.state[parameter][name])


def test_random_states_are_restored(tmp_path: Path) -> None:
    import random

    tree = (random.getstate(), np.random.get_state(), torch.get_rng_state())
    found = round_trip(tree, tmp_path)
    random.setstate(found[0])
    np.random.set_state(found[1])
    torch.set_rng_state(found[2])


UNSUPPORTED = [object(), {1, 2}, b"bytes", print]


@pytest.mark.parametrize("value", UNSUPPORTED, ids=lambda value: type(value).__name__)
def test_an_unsupported_type_is_rejected_by_its_path(value: object, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"/a/1 is a \w+, which cannot be saved"):
        write_tree({"a": [0, value]}, tmp_path)


def unlink(folder: Path) -> None:
    (folder / TREE).unlink()


def invalid_json(folder: Path) -> None:
    (folder / TREE).write_text("{")


def invalid_tensors(folder: Path) -> None:
    (folder / TENSORS).write_bytes(b"1234")


def missing_tensor(folder: Path) -> None:
    (folder / TREE).write_text(json.dumps({"$tensor": "elsewhere"}))


@pytest.mark.parametrize("damage", [unlink, invalid_json, invalid_tensors, missing_tensor])
def test_an_unreadable_folder_is_a_checkpoint_error(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    write_tree([torch.ones(2)], tmp_path)
    damage(tmp_path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_tree(tmp_path)
