import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.plugins.objective.corruption.deletion import Deletion, DeletionConfig


@settings(max_examples=100, deadline=None)
@given(
    n=st.integers(0, 3) | st.integers(0, 200),
    ratio=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
)
def test_a_fixed_number_of_tokens_is_deleted_and_the_others_keep_their_order(
    n: int, ratio: float, seed: int
) -> None:
    tokens = np.arange(1000, 1000 + n)
    source, target = Deletion(DeletionConfig(ratio), tiny.BYTES)(
        tokens, np.random.default_rng(seed)
    )
    assert np.array_equal(target, np.arange(1000, 1000 + n))
    assert (np.diff(source) > 0).all()
    assert np.isin(source, tokens).all()
    assert len(source) == n - (min(max(1, round(ratio * n)), n - 1) if n else 0)


def test_every_token_is_equally_likely_to_be_deleted() -> None:
    delete, tokens = Deletion(DeletionConfig(0.2), tiny.BYTES), np.arange(10)
    kept = [delete(tokens, np.random.default_rng(i))[0] for i in range(2000)]
    counts = np.bincount(np.concatenate(kept))
    assert ((counts - 1600) ** 2 / 320).sum() < 27.9  # at most 9 degrees, p = 0.001


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_ratios_outside_their_range_are_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="delete_ratio must be in"):
        DeletionConfig(ratio)
