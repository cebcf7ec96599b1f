import warnings
from types import SimpleNamespace

import pairs
import pytest
import tiny
import torch


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_thousand_random_cases_agree_with_trl(dtype: torch.dtype) -> None:
    with warnings.catch_warnings(action="ignore"):
        from trl.experimental.cpo.cpo_trainer import CPOTrainer
    policy, _, _ = pairs.cases(dtype)
    values = {"alpha": 0.0, "loss_type": "sigmoid", "beta": 0.3}
    trainer = SimpleNamespace(accelerator=pairs.SingleProcess(), label_smoothing=0.0, **values)
    wanted, *_ = CPOTrainer.cpo_loss(trainer, *policy.sum(-1))  # type: ignore[arg-type]
    losses, _ = pairs.losses_and_gradients("cpo", dtype, beta=0.3, nll_weight=0.0)
    torch.testing.assert_close(losses, wanted, **pairs.tolerance(dtype))


def test_a_thousand_random_cases_agree_with_the_formula() -> None:
    policy, _, lengths = pairs.cases(torch.float64)
    chosen, rejected = policy.sum(-1)
    wanted = (1 + (-0.1 * (chosen - rejected)).exp()).log() - 0.5 * chosen / lengths[0]
    losses, _ = pairs.losses_and_gradients("cpo", torch.float64, beta=0.1, nll_weight=0.5)
    torch.testing.assert_close(losses, wanted, **pairs.tolerance(torch.float64))


def test_without_a_reference_its_two_accuracies_are_equal() -> None:
    made = tiny.objective("cpo")
    assert made.reference is None
    loss = made.loss(made.collate(pairs.PAIRS))
    assert loss.metrics["accuracy"] == loss.metrics["policy_accuracy"]


def test_a_beta_of_0_is_refused() -> None:
    with pytest.raises(ValueError, match="beta"):
        tiny.part("objective", "cpo", beta=0.0)
