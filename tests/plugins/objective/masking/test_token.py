import numpy as np
import pytest
import tiny
from defaults import default

from etude.config.registry import build


@pytest.mark.parametrize("budget", [1, 7, 20])
def test_exactly_the_budget_is_selected_each_with_a_fate_of_its_own(budget: int) -> None:
    select = build(default("objective/masking/token"), tiny.BYTES)
    tokens = np.array([tiny.BYTES.vocab.bos, *range(200, 220), tiny.BYTES.vocab.eos])
    fates = select(tokens, budget, np.random.default_rng(0))
    assert sorted(fates[fates > 0].tolist()) == list(range(1, budget + 1))
    assert fates[[0, -1]].tolist() == [0, 0]
