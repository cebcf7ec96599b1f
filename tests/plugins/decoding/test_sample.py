from typing import Any

import pytest
import tiny
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from etude.network.decoding import Decoding

LOGITS = torch.tensor([0.5, 0.25, 0.125, 0.0625, 0.0625]).log()


def sample(**values: object) -> Decoding:
    return tiny.decoding("sample", **({"temperature": 1.0} | values))


def shares(made: Decoding, n: int = 1000) -> list[float]:
    """Returns how often each token is sampled if the random numbers cover [0, 1) evenly."""
    draws = (torch.arange(n) + 0.5) / n
    logits = LOGITS.expand(n, -1)
    chosen = made.choose(made.scores(logits, tiny.history(*[[]] * n)), draws.double())
    return (torch.bincount(chosen, minlength=5) / n).tolist()


def test_samples_from_the_softmax() -> None:
    assert shares(sample()) == pytest.approx([0.5, 0.25, 0.125, 0.0625, 0.0625], abs=1e-3)


def test_a_low_temperature_sharpens_the_distribution() -> None:
    wanted = (LOGITS / 0.5).softmax(-1).tolist()
    assert shares(sample(temperature=0.5)) == pytest.approx(wanted, abs=2e-3)


def test_top_k_samples_from_the_k_most_likely_tokens() -> None:
    assert shares(sample(top_k=2)) == pytest.approx([2 / 3, 1 / 3, 0, 0, 0], abs=2e-3)
    assert shares(sample(top_k=99)) == shares(sample())


def test_top_p_keeps_the_token_that_crosses_p() -> None:
    assert shares(sample(top_p=0.6)) == pytest.approx([2 / 3, 1 / 3, 0, 0, 0], abs=2e-3)
    assert shares(sample(top_p=0.01)) == [1, 0, 0, 0, 0]


def test_top_p_applies_to_the_tempered_distribution() -> None:
    assert shares(sample(top_p=0.7, temperature=0.5)) == [1, 0, 0, 0, 0]


CHOICES = tiny.pairwise([
    ("0.5", "1.0", "1.7"), ("1", "5", "200"), ("0.1", "0.6", "1.0"), ("0", "0.05", "0.4"),
    ("0.8", "1.0", "1.5"),
])  # fmt: skip


@pytest.mark.parametrize("choice", CHOICES, ids="-".join)
def test_scores_and_masks_agree_with_transformers(choice: tuple[str, ...]) -> None:
    temperature, top_k, top_p, min_p, penalty = map(float, choice)
    draw = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(64, 80, generator=draw, dtype=torch.float64)
    ids: Any = torch.randint(80, (64, 12), generator=draw)  # their type annotation is outdated
    theirs: list[Any] = [
        RepetitionPenaltyLogitsProcessor(penalty),
        TemperatureLogitsWarper(temperature),
        TopKLogitsWarper(int(top_k)),
        TopPLogitsWarper(top_p),
        MinPLogitsWarper(min_p),
    ]
    made = sample(
        temperature=temperature,
        top_k=int(top_k),
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=penalty,
    )
    wanted = LogitsProcessorList(theirs)(ids, logits.clone())
    torch.testing.assert_close(
        made.scores(logits, tiny.history(*ids.tolist())), wanted, rtol=0.0, atol=1e-12
    )


def test_min_p_keeps_tokens_near_the_most_likely_one() -> None:
    assert shares(sample(min_p=0.25)) == pytest.approx([4 / 7, 2 / 7, 1 / 7, 0, 0], abs=2e-3)
    assert shares(sample(min_p=1.0)) == [1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("min_p", -0.1),
        ("min_p", 1.1),
        ("repetition_penalty", 0.0),
        ("temperature", 0.0),
        ("top_k", 0),
        ("top_p", 0.0),
        ("top_p", 1.5),
    ],
)
def test_values_out_of_range_are_errors(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{key} must be"):
        sample(**{key: value})
