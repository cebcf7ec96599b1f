"""Saves a nested state: tensors in safetensors, everything else in tagged JSON.

Reading restores the types: integer keys stay integers, tuples stay tuples, shared tensors stay
shared. Nothing is pickled, so reading a file cannot run code.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from etude.errors import CheckpointError
from etude.files.json_file import reading

TREE = "tree.json"
TENSORS = "tensors.safetensors"
_TAGS = ("$tensor", "$array", "$tuple", "$dict")


def write_tree(tree: Any, folder: Path) -> None:
    """Writes `tree.json` and `tensors.safetensors` into an existing folder.

    A tree consists of dicts, lists, tuples, tensors, arrays, str, int, float, bool and None.
    Raises TypeError, with the path, for any other type.
    """
    writer = _Writer()
    encoded = writer.encode(tree, "")
    save_tensors(writer.tensors, folder / TENSORS)
    (folder / TREE).write_text(json.dumps(encoded, ensure_ascii=False), encoding="utf-8")


def save_tensors(
    tensors: dict[str, Tensor], file: Path, metadata: dict[str, str] | None = None
) -> None:
    """Writes a safetensors file. Raises OSError, as other writers do, if the disk is full."""
    try:
        save_file(tensors, file, metadata)
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), str(error), str(file)) from error


def read_tree(folder: Path) -> Any:
    """Returns the tree in a folder. Raises CheckpointError if it cannot be read."""
    tensors = tensors_of(folder / TENSORS)
    with reading(folder / TREE):
        return _decode(json.loads((folder / TREE).read_text(encoding="utf-8")), tensors)


def tensors_of(file: Path) -> dict[str, Tensor]:
    """Returns the tensors in a safetensors file. Raises CheckpointError if it cannot be read."""
    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from error


class _Writer:
    """Encodes a tree; names each distinct tensor by the first path at which it occurs."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._names: dict[tuple[Any, ...], str] = {}
        self._storages: set[int] = set()

    def encode(self, node: Any, path: str) -> Any:
        if node is None or isinstance(node, str | bool | int | float):
            return node
        if isinstance(node, Tensor):
            return {"$tensor": self._name(node, path)}
        if isinstance(node, np.ndarray):
            return {"$array": self._name(torch.from_numpy(node.copy(order="C")), path)}
        if isinstance(node, tuple):
            return {"$tuple": [self.encode(v, f"{path}/{i}") for i, v in enumerate(node)]}
        if isinstance(node, list):
            return [self.encode(v, f"{path}/{i}") for i, v in enumerate(node)]
        if isinstance(node, dict):
            items = [(k, self.encode(v, f"{path}/{k}")) for k, v in node.items()]
            if all(isinstance(k, str) and k not in _TAGS for k, _ in items):
                return dict(items)
            return {"$dict": [[self.encode(k, path), v] for k, v in items]}
        raise TypeError(f"{path or 'the tree'} is a {type(node).__name__}, which cannot be saved")

    def _name(self, tensor: Tensor, path: str) -> str:
        shape = (tensor.shape, tensor.stride(), tensor.dtype)
        key = (tensor.data_ptr(), *shape) if tensor.numel() else (path, *shape)
        if key not in self._names:
            while path in self.tensors:  # "a/b" may be one key or b in a; 1 may be "1"
                path += "'"
            self._names[key] = path
            saved = tensor.detach().cpu().contiguous()
            storage = saved.untyped_storage().data_ptr()
            self.tensors[path] = saved.clone() if storage in self._storages else saved
            self._storages.add(storage)
        return self._names[key]


def _decode(node: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(node, list):
        return [_decode(v, tensors) for v in node]
    if not isinstance(node, dict):
        return node
    if len(node) == 1:
        (tag, value), *_ = node.items()
        if tag == "$tensor":
            return tensors[value]
        if tag == "$array":
            return tensors[value].numpy()
        if tag == "$tuple":
            return tuple(_decode(v, tensors) for v in value)
        if tag == "$dict":
            return {_decode(k, tensors): _decode(v, tensors) for k, v in value}
    return {k: _decode(v, tensors) for k, v in node.items()}
