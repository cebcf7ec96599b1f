"""Counts the memory of live fake tensors after each operation."""

import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class MemoryMeter(TorchDispatchMode):
    """A dispatch mode that counts the bytes of all live fake tensors.

    Indexing a fake tensor with a real mask has an unknown size, so masks are converted to indices;
    `item()` of a fake tensor, as in Adafactor, returns 1.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._known: dict[int, int] = {}
        for tensor in tensors:
            self._add(tensor)

    def __torch_dispatch__(
        self,
        func: Any,  # an operator; torch's type of it is private
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.ops.aten.index.Tensor and isinstance(args[0], FakeTensor):
            args = (args[0], _indices(args[1]))
        if func is torch.ops.aten._local_scalar_dense.default and isinstance(args[0], FakeTensor):
            return torch.ones((), dtype=args[0].dtype).item()
        result = func(*args, **(kwargs or {}))
        for item in tree_leaves(result):
            if isinstance(item, FakeTensor):
                self._add(item)
        return result

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = id(storage)
        if key not in self._known:
            self._known[key] = storage.nbytes()
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self.live -= self._known.pop(key)


def _indices(indices: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Returns the indices with each real mask replaced by the positions where it is true."""
    found: list[Tensor | None] = []
    for index in indices:
        if index is None or index.dtype is not torch.bool or isinstance(index, FakeTensor):
            found.append(index)
        else:
            found += index.nonzero(as_tuple=True)
    return found
