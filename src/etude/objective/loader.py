"""The loader: windows of samples, cut into micro-batches, in an order that is a pure function.

A *window* is what one optimizer step sees: `trainer.global_batch` samples. It does not depend on
the hardware; how it is cut does. Every micro-batch carries the count of its whole window, which
makes the step exact (see `objective.py`). The loader's state is a position, so resuming is a seek.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np

from etude.data.source import Samples
from etude.objective.randomness import TRAIN, rng, sample_at
from etude.objective.ranks import Ranks, gathered

BatchT = TypeVar("BatchT")


@dataclass
class StepBatch:
    """One step's samples on this rank: what the objective made of them, and what they are."""

    examples: Sequence[Any]
    ids: Sequence[int]

    @property
    def digest(self) -> str:
        """A short name of the samples, so that two runs can be compared step by step."""
        return hashlib.sha256(np.asarray(self.ids, np.int64).tobytes()).hexdigest()[:12]


@runtime_checkable
class StepSource(Protocol):
    """Gives one window after another, and can be put where it was."""

    @property
    def steps_per_epoch(self) -> float: ...
    def next_step_batch(self) -> StepBatch: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Takes what `state_dict` gave on each rank, in order."""
        ...


class EpochSource:
    """Windows over a fixed list of samples, shuffled anew each epoch; they may straddle two."""

    def __init__(
        self,
        samples: Samples,
        example: Callable[[Any, np.random.Generator], Any],
        window: int,
        seed: int,
        ranks: Ranks,
    ) -> None:
        self.samples = samples
        self.example = example
        self.window = window
        self.seed = seed
        self.ranks = ranks
        self.windows_read = 0

    @property
    def steps_per_epoch(self) -> float:
        """Windows in one pass over the samples."""
        return len(self.samples) / self.window

    def next_step_batch(self) -> StepBatch:
        start = self.windows_read * self.window
        self.windows_read += 1
        places = [
            sample_at(self.seed, len(self.samples), start + place)
            for place in self.ranks.share(self.window)
        ]
        examples = [
            self.example(self.samples[sample], rng(self.seed, TRAIN, epoch, sample))
            for epoch, sample in places
        ]
        return StepBatch(examples, [sample for _, sample in places])

    def state_dict(self) -> dict[str, Any]:
        return {"windows_read": self.windows_read}

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        self.windows_read = states[0]["windows_read"]  # the same on every rank


@dataclass
class MicroBatch(Generic[BatchT]):
    """A part of a window, with the count of the whole."""

    batch: BatchT
    index: int
    """Which part, from 0."""
    of: int
    """How many parts the window was cut into."""
    step_count: float
    """The objective's count over this rank's whole window."""
    digest: str
    window: Sequence[BatchT] = ()
    """With the first part, where the objective surveys: all of them."""

    @property
    def is_last(self) -> bool:
        """Whether the optimizer steps after this part."""
        return self.index == self.of - 1


class StepLoader(Generic[BatchT]):
    """What Lightning iterates: endless, sized (so that it never prefetches), with state."""

    def __init__(
        self,
        source: StepSource,
        collate: Callable[[Sequence[Any]], BatchT],
        count: Callable[[BatchT], float],
        micro_batch: int,
        whole: bool = False,
    ) -> None:
        self.source = source
        self.collate = collate
        self.count = count
        self.micro_batch = micro_batch
        self.whole = whole

    def __len__(self) -> int:
        return 2**40

    def __iter__(self) -> Iterator[MicroBatch[BatchT]]:
        while True:
            window = self.source.next_step_batch()
            batches = [self.collate(part) for part in chunks(window.examples, self.micro_batch)]
            total = sum(map(self.count, batches))
            for index, batch in enumerate(batches):
                window_seen = batches if self.whole and index == 0 else ()
                yield MicroBatch(batch, index, len(batches), total, window.digest, window_seen)

    def state_dict(self) -> dict[str, Any]:
        """Where the source of every rank stands; a window begun counts as read."""
        return {"ranks": gathered(self.source.state_dict())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.source.load_state_dict(state["ranks"])


def chunks(examples: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """Cuts a list into parts of `size`; the last may be shorter."""
    return [examples[i : i + size] for i in range(0, len(examples), size)]
