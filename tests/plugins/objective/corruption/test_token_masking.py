import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.plugins.objective.corruption.token_masking import TokenMasking, TokenMaskingConfig

MASK = tiny.BYTES.vocab.mask


@settings(max_examples=100, deadline=None)
@given(
    n=st.integers(0, 3) | st.integers(0, 200),
    ratio=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
)
def test_a_fixed_number_of_tokens_is_masked_and_the_others_stay(
    n: int, ratio: float, seed: int
) -> None:
    tokens = np.random.default_rng(seed).integers(109, 365, n)
    mask = TokenMasking(TokenMaskingConfig(ratio), tiny.BYTES)
    source, target = mask(tokens, np.random.default_rng(seed))
    assert (source == MASK).sum() == (max(1, round(ratio * n)) if n else 0)
    assert np.array_equal(np.where(source == MASK, target, source), tokens)
    assert not (target == MASK).any()


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_ratios_outside_their_range_are_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="mask_ratio must be in"):
        TokenMaskingConfig(ratio)
