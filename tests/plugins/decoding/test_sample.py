import pytest
import tiny
import torch

from etude.contracts import Decoding
from etude.registry import build

LOGITS = torch.tensor([0.5, 0.25, 0.125, 0.0625, 0.0625]).log()


def sample(**values: object) -> Decoding:
    return build(tiny.part("decoding", "sample", **({"temperature": 1.0} | values)))


def shares(made: Decoding, n: int = 1000) -> list[float]:
    """How often each token is chosen when the draws cover [0, 1) evenly."""
    draws = (torch.arange(n) + 0.5) / n
    logits = LOGITS.expand(n, -1)
    chosen = made.choose(made.scores(logits, logits.isnan()), draws.double())
    return (torch.bincount(chosen, minlength=5) / n).tolist()


def test_draws_from_the_softmax() -> None:
    assert shares(sample()) == pytest.approx([0.5, 0.25, 0.125, 0.0625, 0.0625], abs=1e-3)


def test_temperature_sharpens() -> None:
    wanted = (LOGITS / 0.5).softmax(-1).tolist()
    assert shares(sample(temperature=0.5)) == pytest.approx(wanted, abs=2e-3)


def test_top_k_draws_from_the_k_likeliest() -> None:
    assert shares(sample(top_k=2)) == pytest.approx([2 / 3, 1 / 3, 0, 0, 0], abs=2e-3)
    assert shares(sample(top_k=99)) == shares(sample())


def test_top_p_keeps_the_token_that_crosses_p() -> None:
    assert shares(sample(top_p=0.6)) == pytest.approx([2 / 3, 1 / 3, 0, 0, 0], abs=2e-3)
    assert shares(sample(top_p=0.01)) == [1, 0, 0, 0, 0]


def test_the_nucleus_is_that_of_the_tempered_distribution() -> None:
    assert shares(sample(top_p=0.7, temperature=0.5)) == [1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("key", "value"), [("temperature", 0.0), ("top_k", 0), ("top_p", 0.0), ("top_p", 1.5)]
)
def test_values_outside_their_range_are_refused(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{key} must be"):
        sample(**{key: value})
