"""The data-parallel processes of a run: which share is whose, and what all of them know."""

import os
from dataclasses import dataclass
from typing import Self, TypeVar

import torch.distributed as dist

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """Which of the processes this one is."""

    rank: int = 0
    size: int = 1

    @classmethod
    def of_this_process(cls, size: int) -> Self:
        """What the launcher says: torchrun's variables, or those Lightning sets for its own."""
        rank = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))
        return cls(int(rank), int(os.environ.get("WORLD_SIZE", size)))

    def share(self, window: int) -> range:
        """Places within a window of `window` samples that this rank reads."""
        each = window // self.size
        return range(self.rank * each, (self.rank + 1) * each)


def gathered(value: T) -> list[T]:
    """Returns the value of every rank, in order; all ranks must call."""
    if not dist.is_initialized():
        return [value]
    found: list[T | None] = [None] * dist.get_world_size()
    dist.all_gather_object(found, value)
    return [item for item in found if item is not None]
