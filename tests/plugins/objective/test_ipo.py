import pairs
import pytest
import tiny
import torch

from etude.config.schema.preferences import Reduction


def test_golden_values() -> None:
    assert pairs.golden_loss("ipo") == pytest.approx(9.0, abs=1e-12)
    assert pairs.golden_loss("ipo", log_prob=Reduction.mean) == pytest.approx(22.800625, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_thousand_random_cases_agree_with_trl_which_averages_over_tokens(
    dtype: torch.dtype,
) -> None:
    pairs.assert_as_trl("ipo", "ipo", dtype, beta=0.3, log_prob=Reduction.mean)


@pytest.mark.parametrize("kind", list(Reduction))
def test_a_thousand_random_cases_agree_with_the_formula(kind: Reduction) -> None:
    policy, reference, lengths = pairs.cases(torch.float64)
    ratio = (policy - reference).sum(-1) / (lengths if kind is Reduction.mean else 1)
    wanted = (ratio[0] - ratio[1] - 1 / 0.6) ** 2
    losses, _ = pairs.losses_and_gradients("ipo", torch.float64, beta=0.3, log_prob=kind)
    torch.testing.assert_close(losses, wanted, **pairs.tolerance(torch.float64))


def test_the_loss_of_an_untrained_policy_is_the_squared_target_per_pair() -> None:
    made = tiny.objective("ipo", beta=0.5)
    loss = made.loss(made.collate(pairs.PAIRS))
    assert float(loss.total.detach()) == pytest.approx(2.0, abs=1e-12)
    assert loss.metrics["margin"] == 0
