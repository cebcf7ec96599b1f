"""The loader: global batches, split into micro-batches, in an order that depends on the seed only.

A *global batch* is the `trainer.global_batch` samples of one optimizer step. It does not depend on
the hardware, but the size of its micro-batches does. Each micro-batch carries the count of the
whole global batch, which makes the step exact (see `objective.py`). The loader's state is a
position, so resuming is a seek.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np

from etude.data.source import Samples
from etude.data.token_rows import cut_row
from etude.objective.randomness import TRAIN, rng, sample_at
from etude.objective.ranks import Ranks, all_gather
from etude.objective.step_size import StepSize, StepSizes

BatchT = TypeVar("BatchT")
T = TypeVar("T")
SampleOrder: TypeAlias = Callable[[int], tuple[int, int]]
"""Returns (epoch, sample) at a position of an endless stream of samples. Must be pure."""


@dataclass
class StepBatch:
    """The samples of one step on this rank: the objective's examples, and the sample ids."""

    examples: Sequence[Any]
    ids: Sequence[int]
    start: int
    """Position of the first one in the global batch."""
    n_samples: int | None = None
    """Number of samples that the examples are cut from; None = one for each example."""
    span: int | None = None
    """Largest attention window, in tokens; None = no limit."""

    @property
    def digest(self) -> str:
        """A short hash of the sample ids, so that two runs can be compared step by step."""
        return hashlib.sha256(np.asarray(self.ids, np.int64).tobytes()).hexdigest()[:12]


@runtime_checkable
class StepSource(Protocol):
    """Returns one global batch after another; its position can be saved and restored."""

    order: SampleOrder

    @property
    def steps_per_epoch(self) -> float: ...
    def next_step_batch(self) -> StepBatch: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Restores what `state_dict` returned on each rank, in rank order."""
        ...


class EpochSource:
    """Global batches of a fixed list of samples, reshuffled each epoch; one may span two epochs.

    `stratify` receives each example with its place in the global batch and the size of the batch,
    so that an objective can spread a random number of its examples evenly.
    """

    def __init__(
        self,
        samples: Samples,
        example: Callable[[Any, np.random.Generator], Any],
        global_batch: int,
        seed: int,
        ranks: Ranks,
        stratify: Callable[[Any, int, int], Any] = lambda example, index, of: example,
    ) -> None:
        self.samples = samples
        self.example = example
        self.stratify = stratify
        self.global_batch = global_batch
        self.seed = seed
        self.ranks = ranks
        self.order: SampleOrder = partial(sample_at, seed, len(samples))
        self.sizes: StepSizes | None = None
        """The sizes of the steps; None = all full."""
        self.n_read = 0
        self._position = 0
        """Number of samples of all ranks in the steps that were read."""

    @property
    def steps_per_epoch(self) -> float:
        """Number of global batches in one pass over the samples."""
        return len(self.samples) / self.global_batch

    def next_step_batch(self) -> StepBatch:
        size = StepSize(self.global_batch, 0) if self.sizes is None else self.sizes.at(self.n_read)
        start = self._position
        self.n_read += 1
        self._position += size.samples
        share = self.ranks.share(size.samples)
        positions = [self.order(start + offset) for offset in share]
        examples = [
            self.stratify(example, offset, size.samples)
            for offset, position in zip(share, positions, strict=True)
            for example in self._examples(*position, size.length)
        ]
        ids = [sample for _, sample in positions]
        return StepBatch(examples, ids, share.start, len(ids), size.span)

    def _examples(self, epoch: int, sample: int, length: int) -> Iterator[Any]:
        """Yields the example of a sample, or those of the rows that a ramp cuts it into."""
        record = self.samples[sample]
        if self.sizes is None or length == self.sizes.full.length:
            yield self.example(record, rng(self.seed, TRAIN, epoch, sample))
            return
        for i, row in enumerate(cut_row(record, length)):
            yield self.example(row, rng(self.seed, TRAIN, epoch, sample, i))

    def state_dict(self) -> dict[str, Any]:
        return {"n_read": self.n_read}

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        self.n_read = states[0]["n_read"]  # the same on every rank
        sizes = self.sizes or StepSizes(StepSize(self.global_batch, 0))
        self._position = sizes.n_samples(self.n_read)


@dataclass
class MicroBatch(Generic[BatchT]):
    """A part of a global batch, with the count of the whole."""

    batch: BatchT | None
    """None for a part without samples: a ramp's smaller batch has as many parts as a full one."""
    index: int
    """Index of this part, from 0."""
    of: int
    """Number of parts of the global batch."""
    step_count: float
    """The objective's count over this rank's share of the global batch."""
    digest: str
    positions: Sequence[int]
    """Positions of its samples in the global batch of all ranks."""
    step_batches: Sequence[tuple[BatchT, Sequence[int]]] = ()
    """All parts with their positions, set on the first one if the objective needs a batch
    statistic; otherwise empty."""
    span: int | None = None
    """Largest attention window, in tokens; None = no limit."""

    @property
    def is_last(self) -> bool:
        """Whether the optimizer steps after this part."""
        return self.index == self.of - 1


class StepLoader(Generic[BatchT]):
    """The endless iterable for Lightning; it has a length, so that Lightning never prefetches."""

    def __init__(
        self,
        source: StepSource,
        collate: Callable[[Sequence[Any]], BatchT],
        count: Callable[[BatchT], float],
        micro_batch: int,
        attach_step_batches: bool = False,
        n_parts: int = 1,
    ) -> None:
        self.source = self._before = source
        self.collate = collate
        self.count = count
        self.micro_batch = micro_batch
        self.attach_step_batches = attach_step_batches
        self.n_parts = n_parts
        """Smallest number of parts of a step; Lightning takes an optimizer step after as many."""

    def __len__(self) -> int:
        return 2**40

    def __iter__(self) -> Iterator[MicroBatch[BatchT]]:
        while True:
            self._before = copy(self.source)  # a step replaces its values, and changes none
            step = self.source.next_step_batch()
            batches = self.batches(step)
            n = len(batches)
            places = split([step.start + i for i in range(len(step.examples))], n)
            total = sum(map(self.count, batches))
            placed = list(zip(batches, places, strict=True))
            parts = [*[(None, ())] * (self.n_parts - n), *placed]  # the last one must train
            for i, (batch, positions) in enumerate(parts):
                attached = placed if self.attach_step_batches and i == 0 else ()
                rest = step.digest, positions, attached, step.span
                yield MicroBatch(batch, i, len(parts), total, *rest)

    def batches(self, step: StepBatch) -> list[BatchT]:
        """Returns the micro-batches of a global batch."""
        n = math.ceil((step.n_samples or len(step.examples)) / self.micro_batch)
        return [self.collate(part) for part in split(step.examples, n)]

    def rewind(self) -> None:
        """Goes back to before the last global batch, for a checkpoint without its step."""
        self.source = self._before

    def state_dict(self) -> dict[str, Any]:
        """Returns each rank's position; a global batch that has been started counts as read."""
        return {"ranks": all_gather(self.source.state_dict())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.source.load_state_dict(state["ranks"])


def chunks(examples: Sequence[T], size: int) -> list[Sequence[T]]:
    """Splits a list into parts of `size`; the last may be shorter."""
    return [examples[i : i + size] for i in range(0, len(examples), size)]


def split(examples: Sequence[T], n: int) -> list[Sequence[T]]:
    """Splits a list into `n` parts whose sizes differ by at most 1."""
    return [examples[len(examples) * i // n : len(examples) * (i + 1) // n] for i in range(n)]
