import random

import numpy as np
import pytest
import torch

from etude.objective.randomness import (
    global_state,
    isolated_randomness,
    restore_global,
    seed_global,
)


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**63 - 1])
def test_a_seed_determines_the_draws_of_all_global_generators(seed: int) -> None:
    seed_global(seed)
    first = draws()
    assert draws() != first
    seed_global(seed)
    assert draws() == first
    seed_global(seed + 1)
    assert all(a != b for a, b in zip(draws(), first, strict=True))


def test_a_restored_state_continues_as_before() -> None:
    seed_global(3)
    state = global_state()
    first = draws()
    restore_global(state)
    assert draws() == first


def test_isolated_code_draws_the_same_numbers_and_leaves_no_trace() -> None:
    seed_global(4)
    expected = draws()
    seed_global(4)
    with isolated_randomness(9):
        inside = draws()
    assert draws() == expected
    with isolated_randomness(9):
        assert draws() == inside
