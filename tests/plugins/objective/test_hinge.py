import pairs
import pytest
import tiny
import torch


def test_golden_value() -> None:
    assert pairs.golden_loss("hinge") == pytest.approx(0.8, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_thousand_random_cases_agree_with_trl(dtype: torch.dtype) -> None:
    pairs.assert_as_trl("hinge", "hinge", dtype, beta=0.2)


def test_a_thousand_random_cases_agree_with_the_formula() -> None:
    policy, reference, _ = pairs.cases(torch.float64)
    ratio = (policy - reference).sum(-1)
    wanted = torch.maximum(torch.zeros(()), 1 - 0.2 * (ratio[0] - ratio[1]))
    losses, gradient = pairs.losses_and_gradients("hinge", torch.float64, beta=0.2)
    torch.testing.assert_close(losses, wanted, **pairs.tolerance(torch.float64))
    assert (wanted == 0).any()
    assert (gradient[:, wanted == 0] == 0).all()  # far enough apart: let be


def test_the_loss_of_an_untrained_policy_is_1_per_pair() -> None:
    made = tiny.objective("hinge")
    assert float(made.loss(made.collate(pairs.PAIRS)).total.detach()) == 2.0
