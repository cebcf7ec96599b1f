from typing import Any

import pytest
import tiny
import torch
from transformers import TypicalLogitsWarper


@pytest.mark.parametrize("mass", [0.05, 0.2, 0.5, 0.9, 0.99])
def test_scores_agree_with_transformers(mass: float) -> None:
    draw = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(64, 80, generator=draw, dtype=torch.float64)
    ids: Any = torch.zeros(64, 1, dtype=torch.long)
    made = tiny.decoding("typical", mass=mass, temperature=0.7)
    found = made.scores(logits, tiny.history(*[[0]] * 64))
    wanted = TypicalLogitsWarper(mass)(ids, logits / 0.7)
    torch.testing.assert_close(found, wanted, rtol=0.0, atol=1e-12)


def test_the_most_likely_token_is_excluded_if_it_carries_too_little_information() -> None:
    """Entropy 1.15 nats: 0.5 carries 0.69 nats, 0.25 carries 1.39, so that it comes first."""
    logits = torch.tensor([[0.5, 0.25, 0.15, 0.1]]).log()
    scores = tiny.decoding("typical", mass=0.2).scores(logits, tiny.history([0]))
    assert scores.isfinite().tolist() == [[False, True, False, False]]


def test_tokens_excluded_before_stay_excluded() -> None:
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log()
    made = tiny.decoding("typical", no_repeat_ngram=1)
    assert made.scores(logits, tiny.history([1])).isfinite().tolist() == [[True, False, True]]


@pytest.mark.parametrize(("key", "value"), [("mass", 0.0), ("mass", 1.0), ("temperature", 0.0)])
def test_values_out_of_range_are_errors(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{key} must be"):
        tiny.decoding("typical", **{key: value})
