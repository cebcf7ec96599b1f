import warnings
from types import SimpleNamespace
from typing import Any

import pairs
import pytest
import tiny
import torch

CONFIG: dict[str, Any] = {"beta": 2.0, "gamma": 1.0}


def test_golden_value() -> None:
    assert pairs.golden_loss("simpo", **CONFIG) == pytest.approx(1.103186, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_thousand_random_cases_agree_with_trl(dtype: torch.dtype) -> None:
    with warnings.catch_warnings(action="ignore"):
        from trl.experimental.cpo.cpo_trainer import CPOTrainer
    policy, _, lengths = pairs.cases(dtype)
    values = {"alpha": 0.0, "loss_type": "simpo", "simpo_gamma": 1.375, "beta": 2.5}
    trainer = SimpleNamespace(accelerator=pairs.SingleProcess(), label_smoothing=0.0, **values)
    wanted, *_ = CPOTrainer.cpo_loss(trainer, *(policy.sum(-1) / lengths))  # type: ignore[arg-type]
    losses, _ = pairs.losses_and_gradients("simpo", dtype, beta=2.5, gamma=1.375)
    torch.testing.assert_close(losses, wanted, **pairs.tolerance(dtype))


def test_a_thousand_random_cases_agree_with_the_formula() -> None:
    policy, _, lengths = pairs.cases(torch.float64)
    mean = policy.sum(-1) / lengths
    wanted = (1 + (-2 * (mean[0] - mean[1]) + 1).exp()).log()
    losses, _ = pairs.losses_and_gradients("simpo", torch.float64, **CONFIG)
    torch.testing.assert_close(losses, wanted, **pairs.tolerance(torch.float64))


def test_it_has_no_reference_and_the_reward_is_the_scaled_log_probability() -> None:
    made = tiny.objective("simpo", **CONFIG)
    assert made.reference is None
    loss = made.loss(made.collate(pairs.PAIRS))
    assert loss.metrics["chosen_reward"] == pytest.approx(-2 * float(loss.metrics["chosen_nll"]))


@pytest.mark.parametrize(("key", "value"), [("beta", 0.0), ("gamma", -0.1), ("nll_weight", -1.0)])
def test_values_outside_their_range_are_refused(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=key):
        tiny.part("objective", "simpo", **{key: value})
