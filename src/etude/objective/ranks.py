"""The data-parallel processes of a run: the share of each rank, and gathering from all."""

import os
from dataclasses import dataclass
from typing import Self, TypeVar

import torch.distributed as dist

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """The rank of this process, and the number of processes."""

    rank: int = 0
    size: int = 1

    @classmethod
    def of_this_process(cls, size: int) -> Self:
        """Reads the launcher's variables: torchrun's, or those Lightning sets for its processes."""
        rank = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))
        return cls(int(rank), int(os.environ.get("WORLD_SIZE", size)))

    def share(self, global_batch: int) -> range:
        """Returns the indices in a global batch of this many samples that this rank reads."""
        n = global_batch // self.size
        return range(self.rank * n, (self.rank + 1) * n)


def all_gather(value: T) -> list[T]:
    """Returns the values of all ranks, in rank order; every rank must call this."""
    if not dist.is_initialized():
        return [value]
    values: list[T | None] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return [item for item in values if item is not None]
