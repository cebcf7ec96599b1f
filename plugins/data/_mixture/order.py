"""Merges shuffled sources into one stream, block by block, so that a position can be sought.

The positions are divided into blocks. How many samples each source has in a block depends on the
blocks before it, and not on what was read. In it, they are at equal distances from a random place
on, so that every step has about the share of each source.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

from etude.objective import epoch_order, rng

BLOCK = 256
"""Positions of a block: the shares of every multiple of it are exact to one sample."""
LAYOUT = 0x6D6978
"""The purpose of the random numbers of the layout; distinct from those of the core."""

Rates = Callable[[float, Bool[np.ndarray, " sources"]], Float[np.ndarray, " sources"]]
"""The fraction of the samples that each source has at a share of the run, if only some are open."""


class MergedOrder:
    """Returns (epoch, index) for each position of the stream.

    A source is read in shuffled epochs. It closes after `limits` samples, unless all are closed.
    """

    def __init__(
        self,
        indices: Sequence[Int[np.ndarray, " _"]],
        rates: Rates,
        limits: Float[np.ndarray, " sources"],
        n_positions: int,
        seed: int,
    ) -> None:
        self.indices = indices
        self.rates = rates
        self.limits = limits
        self.n_positions = n_positions
        self.seed = seed
        self._read = [np.zeros(len(indices), dtype=np.int64)]
        """How many samples of each source come before each block."""
        self._due = np.zeros(len(indices))
        """Samples that are due in the next block: fractions that did not fit into the last one."""
        self._epoch = lru_cache(maxsize=2 * len(indices))(self._shuffled)
        self._layout = lru_cache(maxsize=4)(self._laid_out)

    def __call__(self, position: int) -> tuple[int, int]:
        block, offset = divmod(position, BLOCK)
        source, number = (int(column[offset]) for column in self._layout(block))
        epoch, place = divmod(number, len(self.indices[source]))
        return epoch, int(self._epoch(source, epoch)[place])

    def n_read(self, n_positions: int) -> list[int]:
        """How many of the first positions have a sample of each source."""
        block, offset = divmod(n_positions, BLOCK)
        sources, _ = self._layout(block)
        inside = np.bincount(sources[:offset], minlength=len(self.indices))
        return (self._read[block] + inside).tolist()

    def _shuffled(self, source: int, epoch: int) -> Int[np.ndarray, " samples"]:
        indices = self.indices[source]
        return indices[epoch_order(self.seed + source, len(indices), epoch)]

    def _laid_out(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """The source of each position of a block, and its number among those of that source."""
        while len(self._read) < block + 2:
            self._read.append(self._read[-1] + self._next_counts())
        counts = self._read[block + 1] - self._read[block]
        shifts = rng(self.seed, LAYOUT, block).random(len(counts))
        pairs = zip(counts, shifts, strict=True)
        places = np.concatenate([(np.arange(n) + shift) / max(1, n) for n, shift in pairs])
        laid_out = np.repeat(np.arange(len(counts)), counts)[places.argsort(kind="stable")]
        numbers = np.empty(BLOCK, dtype=np.int64)
        for source, n in enumerate(counts):
            numbers[laid_out == source] = self._read[block][source] + np.arange(n)
        return laid_out, numbers

    def _next_counts(self) -> Int[np.ndarray, " sources"]:
        """How many samples each source has in the next block."""
        start = (len(self._read) - 1) * BLOCK
        progress = min(1.0, (start + BLOCK / 2) / max(1, self.n_positions))
        left = np.maximum(0, self.limits - self._read[-1])
        if left.sum() < BLOCK:  # the last block of the run: all that is left, in proportion
            rates = left / left.sum() if left.any() else self.rates(progress, left == 0)
            self._due = BLOCK * rates
            left = np.full(len(left), np.inf)
        else:
            is_open = left >= 1
            self._due = np.where(is_open, self._due, 0) + BLOCK * self.rates(progress, is_open)
        counts = np.minimum(np.maximum(self._due, 0), left).astype(np.int64)
        while (n := counts.sum()) != BLOCK:
            step = 1 if n < BLOCK else -1
            able = (counts < np.floor(left)) if step > 0 else counts > 0
            lag = np.where(able, step * (self._due - counts), -np.inf)
            counts[lag.argmax()] += step
        self._due -= counts
        return counts
