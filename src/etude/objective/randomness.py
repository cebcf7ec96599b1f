"""Random numbers as a pure function of a key, and the order of samples.

étude draws from keys alone. Plugins may also use the global generators of Python, numpy and torch:
these are seeded at the start of a run, and saved and restored with it.
"""

import functools
import random
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

TRAIN, VALIDATION, ROLLOUT, SAMPLE, ENVIRONMENT = range(5)
"""Purposes of random numbers: the second entry of every key."""


def rng(seed: int, purpose: int, *key: int) -> np.random.Generator:
    """Returns a generator that depends only on its key, such as (seed, TRAIN, epoch, sample).

    The length is part of the key, since numpy pads a short one with zeros.
    """
    return np.random.default_rng((seed, purpose, len(key), *key))


def sample_at(seed: int, n_samples: int, position: int) -> tuple[int, int]:
    """Returns (epoch, sample) at a position of the endless shuffled stream of samples."""
    epoch, index = divmod(position, n_samples)
    return epoch, int(_cached_order(seed, n_samples, epoch)[index])


def seed_global(seed: int) -> None:
    """Seeds the global generators of Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(np.random.SeedSequence(seed).generate_state(4))
    torch.manual_seed(seed)


def global_state() -> dict[str, Any]:
    """Returns the states of the global generators."""
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_global(state: Mapping[str, Any]) -> None:
    """Restores the states of the global generators."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def isolated_randomness(seed: int) -> Generator[None]:
    """Seeds the global generators for a block of code, and restores them after it."""
    state = global_state()
    seed_global(seed)
    try:
        yield
    finally:
        restore_global(state)


def epoch_order(seed: int, n_samples: int, epoch: int) -> np.ndarray:
    """Returns the samples in the order of an epoch."""
    return rng(seed, TRAIN, epoch).permutation(n_samples)


_cached_order = functools.lru_cache(maxsize=2)(epoch_order)
