import pairs
import pytest
import tiny
import torch
import torch.nn.functional as F

from etude.objective.log_probs import preference_loss
from etude.plugins.objective.rdpo import rdpo_loss


def test_golden_value() -> None:
    assert pairs.golden_loss("rdpo", flip_rate=0.1) == pytest.approx(0.573139, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_thousand_random_cases_agree_with_trl(dtype: torch.dtype) -> None:
    pairs.assert_as_trl("rdpo", "robust", dtype, beta=0.1, flip_rate=0.2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.4])
def test_a_thousand_random_cases_agree_with_the_formula(rate: float, dtype: torch.dtype) -> None:
    policy, reference, _ = pairs.cases(torch.float64)
    margin = 0.1 * (policy - reference).sum(-1).diff(dim=0)[0].neg()
    right, wrong = (1 + (-margin).exp()).log(), (1 + margin.exp()).log()
    wanted = ((1 - rate) * right - rate * wrong) / (1 - 2 * rate)
    losses, _ = pairs.losses_and_gradients("rdpo", dtype, beta=0.1, flip_rate=rate)
    error = {torch.float32: 1e-6, torch.float64: 1e-12}[dtype]
    # fp32 sums of 24 tokens are the inputs' own error, so there the loss alone is held
    if dtype == torch.float32:
        losses = rdpo_loss(margin.float(), rate)
    torch.testing.assert_close(losses.double(), wanted, rtol=error, atol=error)


def test_its_expectation_over_flipped_labels_is_the_loss_of_the_true_labels() -> None:
    margin = torch.linspace(-8, 8, 33, dtype=torch.float64)
    seen = 0.7 * rdpo_loss(margin, 0.3) + 0.3 * rdpo_loss(-margin, 0.3)
    torch.testing.assert_close(seen, -F.logsigmoid(margin), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(rdpo_loss(margin, 0.0), preference_loss(margin))


@pytest.mark.parametrize("rate", [-0.1, 0.5])
def test_flip_rates_outside_their_range_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="flip_rate must be in"):
        tiny.part("objective", "rdpo", flip_rate=rate)
