import numpy as np
import pytest
import tiny
from defaults import default

from etude.config.registry import build


@pytest.mark.parametrize("budget", [1, 7, 20])
def test_exactly_the_budget_is_selected_and_each_token_is_its_own_group(budget: int) -> None:
    select = build(default("objective/masking/token"), tiny.BYTES)
    tokens = np.array([tiny.BYTES.vocab.bos, *range(200, 220), tiny.BYTES.vocab.eos])
    groups = select(tokens, budget, np.random.default_rng(0))
    assert sorted(groups[groups > 0].tolist()) == list(range(1, budget + 1))
    assert groups[[0, -1]].tolist() == [0, 0]
