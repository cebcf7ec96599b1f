from typing import Any

import pytest
import tiny
import torch
from transformers import RepetitionPenaltyLogitsProcessor


def test_picks_the_most_likely_token_for_any_random_number() -> None:
    logits = torch.randn(4, 9)
    made = tiny.decoding("greedy")
    for draw in (torch.zeros(4), torch.full((4,), 0.999)):
        assert torch.equal(
            made.choose(made.scores(logits, tiny.history(*[range(9)] * 4)), draw), logits.argmax(-1)
        )


@pytest.mark.parametrize("penalty", [0.7, 1.0, 1.3])
def test_the_repetition_penalty_agrees_with_transformers(penalty: float) -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(32, 20, generator=draw)
    ids: Any = torch.randint(20, (32, 9), generator=draw)  # their type annotation is outdated
    made = tiny.decoding("greedy", repetition_penalty=penalty)
    wanted = RepetitionPenaltyLogitsProcessor(penalty)(ids, logits.clone())
    assert torch.equal(made.scores(logits, tiny.history(*ids.tolist())), wanted)
    assert torch.equal(made.choose(wanted, torch.zeros(32)), wanted.argmax(-1))
