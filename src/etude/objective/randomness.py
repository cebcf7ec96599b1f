"""Random numbers as a pure function of a key, and the order of samples."""

import functools

import numpy as np

TRAIN, VALIDATION, ROLLOUT, SAMPLE = range(4)
"""Purposes of random numbers: the second entry of every key."""


def rng(seed: int, purpose: int, *key: int) -> np.random.Generator:
    """Returns a generator that depends only on its key, such as (seed, TRAIN, epoch, sample).

    The length is part of the key, since numpy pads a short one with zeros.
    """
    return np.random.default_rng((seed, purpose, len(key), *key))


def sample_at(seed: int, n_samples: int, position: int) -> tuple[int, int]:
    """Returns (epoch, sample) at a position of the endless shuffled stream of samples."""
    epoch, index = divmod(position, n_samples)
    return epoch, int(_order(seed, n_samples, epoch)[index])


@functools.lru_cache(maxsize=2)
def _order(seed: int, n_samples: int, epoch: int) -> np.ndarray:
    return rng(seed, TRAIN, epoch).permutation(n_samples)
