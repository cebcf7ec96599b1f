"""The loader: global batches, split into micro-batches, in an order that depends on the seed only.

A *global batch* is the `trainer.global_batch` samples of one optimizer step. It does not depend on
the hardware, but the size of its micro-batches does. Each micro-batch carries the count of the
whole global batch, which makes the step exact (see `objective.py`). The loader's state is a
position, so resuming is a seek.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np

from etude.data.source import Samples
from etude.objective.randomness import TRAIN, rng, sample_at
from etude.objective.ranks import Ranks, all_gather

BatchT = TypeVar("BatchT")


@dataclass
class StepBatch:
    """The samples of one step on this rank: the objective's examples, and the sample ids."""

    examples: Sequence[Any]
    ids: Sequence[int]

    @property
    def digest(self) -> str:
        """A short hash of the sample ids, so that two runs can be compared step by step."""
        return hashlib.sha256(np.asarray(self.ids, np.int64).tobytes()).hexdigest()[:12]


@runtime_checkable
class StepSource(Protocol):
    """Returns one global batch after another; its position can be saved and restored."""

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
        self.n_read = 0

    @property
    def steps_per_epoch(self) -> float:
        """Number of global batches in one pass over the samples."""
        return len(self.samples) / self.global_batch

    def next_step_batch(self) -> StepBatch:
        start = self.n_read * self.global_batch
        self.n_read += 1
        offsets = self.ranks.share(self.global_batch)
        positions = [sample_at(self.seed, len(self.samples), start + offset) for offset in offsets]
        examples = [
            self.stratify(
                self.example(self.samples[sample], rng(self.seed, TRAIN, epoch, sample)),
                offset,
                self.global_batch,
            )
            for offset, (epoch, sample) in zip(offsets, positions, strict=True)
        ]
        return StepBatch(examples, [sample for _, sample in positions])

    def state_dict(self) -> dict[str, Any]:
        return {"n_read": self.n_read}

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        self.n_read = states[0]["n_read"]  # the same on every rank


@dataclass
class MicroBatch(Generic[BatchT]):
    """A part of a global batch, with the count of the whole."""

    batch: BatchT
    index: int
    """Index of this part, from 0."""
    of: int
    """Number of parts of the global batch."""
    step_count: float
    """The objective's count over this rank's share of the global batch."""
    digest: str
    step_batches: Sequence[BatchT] = ()
    """All parts, set on the first one if the objective needs a batch statistic; otherwise empty."""

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
    ) -> None:
        self.source = self._before = source
        self.collate = collate
        self.count = count
        self.micro_batch = micro_batch
        self.attach_step_batches = attach_step_batches

    def __len__(self) -> int:
        return 2**40

    def __iter__(self) -> Iterator[MicroBatch[BatchT]]:
        while True:
            self._before = copy(self.source)  # a step replaces its values, and changes none
            step = self.source.next_step_batch()
            batches = [self.collate(part) for part in chunks(step.examples, self.micro_batch)]
            total = sum(map(self.count, batches))
            for index, batch in enumerate(batches):
                attached = batches if self.attach_step_batches and index == 0 else ()
                yield MicroBatch(batch, index, len(batches), total, step.digest, attached)

    def rewind(self) -> None:
        """Goes back to before the last global batch, for a checkpoint without its step."""
        self.source = self._before

    def state_dict(self) -> dict[str, Any]:
        """Returns each rank's position; a global batch that has been started counts as read."""
        return {"ranks": all_gather(self.source.state_dict())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.source.load_state_dict(state["ranks"])


def chunks(examples: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """Splits a list into parts of `size`; the last may be shorter."""
    return [examples[i : i + size] for i in range(0, len(examples), size)]
