import math
import warnings
from types import SimpleNamespace

import pairs
import pytest
import tiny
import torch

from etude.plugins.objective.orpo import log_odds


def test_golden_values() -> None:
    assert pairs.golden_loss("orpo", odds_weight=1.0) == pytest.approx(0.596149, abs=1e-6)
    assert pairs.golden_loss("orpo", nll_weight=1.0) == pytest.approx(1.309615, abs=1e-6)
    chosen, rejected = log_odds(torch.tensor([-10 / 8, -14 / 10], dtype=torch.float64))
    assert float(chosen - rejected) == pytest.approx(0.204425, abs=1e-6)


def test_a_thousand_random_cases_agree_with_trl() -> None:
    """In fp32, which TRL's odds are computed in, whatever it is given."""
    with warnings.catch_warnings(action="ignore"):
        from trl.experimental.orpo.orpo_trainer import ORPOTrainer
    policy, _, lengths = pairs.cases(torch.float32)
    trainer = SimpleNamespace(accelerator=pairs.SingleProcess(), beta=0.1)
    mean = policy.sum(-1) / lengths
    ratio, *_ = ORPOTrainer.odds_ratio_loss(trainer, *mean)  # type: ignore[arg-type]
    losses, _ = pairs.losses_and_gradients("orpo", torch.float32)
    torch.testing.assert_close(losses, -mean[0] - ratio, **pairs.tolerance(torch.float32))


def test_a_thousand_random_cases_agree_with_the_formula() -> None:
    policy, _, lengths = pairs.cases(torch.float64)
    mean = policy.sum(-1) / lengths
    odds = mean.exp() / (1 - mean.exp())
    wanted = -mean[0] - 0.1 * torch.log(1 / (1 + odds[1] / odds[0]))
    losses, _ = pairs.losses_and_gradients("orpo", torch.float64)
    torch.testing.assert_close(losses, wanted, **pairs.tolerance(torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_odds_and_their_gradients_are_accurate_near_p_of_0_and_of_1(
    dtype: torch.dtype,
) -> None:
    """Against d log odds / d log p = 1 / (1 - p), in Python's own floats."""
    found = torch.tensor([-1e-30, -1e-9, -1e-3, -0.7, -1.0, -20.0, -300.0], dtype=dtype)
    found.requires_grad_()
    made = log_odds(found)
    made.sum().backward()
    given = found.detach().tolist()
    odds = [x - math.log(-math.expm1(x)) for x in given]
    slopes = [-1 / math.expm1(x) for x in given]
    error = {torch.float32: 1e-6, torch.float64: 1e-13}[dtype]
    assert made.tolist() == pytest.approx(odds, rel=error, abs=0.1 * error)
    assert found.grad is not None
    assert found.grad.tolist() == pytest.approx(slopes, rel=1e-5)


def test_a_completion_that_is_certain_has_finite_odds() -> None:
    certain = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    log_odds(certain).sum().backward()
    assert log_odds(certain).isfinite().all()
    assert certain.grad is not None
    assert certain.grad.isfinite().all()


def test_it_has_no_reference_and_reports_the_nll() -> None:
    made = tiny.objective("orpo")
    loss = made.loss(made.collate(pairs.PAIRS))
    assert made.reference is None
    assert loss.total.detach() > loss.metrics["chosen_nll"]


def test_a_weight_of_0_is_refused() -> None:
    with pytest.raises(ValueError, match="odds_weight"):
        tiny.part("objective", "orpo", odds_weight=0.0)
