from typing import Any

import numpy as np
import pytest
import tiny
import torch

from etude.plugins.objective.grpo import GrpoSample, group_advantages
from etude.policy_gradient import clipped_objective, k3


def test_golden_advantages() -> None:
    rewards = torch.tensor([[1.0, 0, 0, 1, 0, 0, 0, 0]], dtype=torch.float64)
    found = group_advantages(rewards)[0].tolist()
    assert found[0] == pytest.approx(1.619835, abs=1e-6)
    assert found[1] == pytest.approx(-0.540062 * 0.462910 / 0.463010, abs=1e-6)


def test_advantages_of_a_group_sum_to_zero_and_vanish_where_all_are_alike() -> None:
    rewards = torch.rand(50, 8, dtype=torch.float64)
    assert group_advantages(rewards).sum(1).abs().max() < 1e-12
    assert not group_advantages(torch.full((2, 4), 0.3)).any()


def test_k3_estimates_the_divergence() -> None:
    policy, reference = torch.tensor([-1.2]).double(), torch.tensor([-1.0]).double()
    assert float(k3(policy, reference)) == pytest.approx(0.021403, abs=1e-6)
    assert float(k3(policy, policy)) == 0
    torch.manual_seed(0)
    p, q = torch.randn(2, 6, dtype=torch.float64).log_softmax(-1)
    exact = (p.exp() * (p - q)).sum()
    torch.testing.assert_close((p.exp() * k3(p, q)).sum(), exact)  # its expectation is the KL


@pytest.mark.parametrize(
    ("ratio", "advantage", "gain", "slope"),
    [
        (1.0, 2.0, 2.0, 2.0),
        (1.5, 2.0, 2.4, 0.0),  # clipped: good enough already
        (0.5, 2.0, 1.0, 2.0),
        (1.5, -2.0, -3.0, -2.0),
        (0.5, -2.0, -1.6, 0.0),  # clipped: bad enough already
    ],
)
def test_the_clipped_objective_by_hand(
    ratio: float, advantage: float, gain: float, slope: float
) -> None:
    rho = torch.tensor([ratio], dtype=torch.float64, requires_grad=True)
    found = clipped_objective(rho.log(), torch.tensor([advantage], dtype=torch.float64), 0.2, 0.2)
    assert float(found.detach()) == pytest.approx(gain)
    (grad,) = torch.autograd.grad(found.sum(), rho)
    assert float(grad) == pytest.approx(slope)


def sample(n: int, advantage: float, old: list[float]) -> GrpoSample:
    written = [int(token) for token in np.random.default_rng(n).integers(109, 365, n)]
    return GrpoSample([2, 200, 201], written, np.array(old), advantage, 0.5)


def test_the_loss_averages_tokens_then_completions() -> None:
    made = tiny.objective("grpo", beta=0.5, max_new_tokens=4)
    samples = [sample(2, 1.5, [-6.0, -5.5]), sample(3, -0.5, [-6.5, -5.0, -6.0])]
    with torch.no_grad():
        for parameter in made.network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        total = torch.zeros((), dtype=torch.float64)
        for one in samples:
            targets = made.network.answer([(one.prompt, one.completion)])
            due = targets.ids[targets.where]
            new, first = (
                net(targets.inputs, targets.where).log_softmax(-1)[range(len(due)), due]
                for net in (made.network, made.reference)
            )
            ratio = (new - torch.tensor(one.old_log_prob)).exp()
            gain = torch.minimum(
                ratio * one.advantage, ratio.clamp(0.8, 1.2) * one.advantage
            ) - 0.5 * ((first - new).exp() - (first - new) - 1)
            total -= gain.mean()
        loss = made.loss(made.collate(samples))
    torch.testing.assert_close(loss.total, total)
    assert made.count(made.collate(samples)) == 2
    assert loss.metrics["length"] == 5


def test_without_a_divergence_there_is_no_reference() -> None:
    assert tiny.objective("grpo", beta=0.0, max_new_tokens=4).reference is None


@pytest.mark.parametrize(
    ("key", "value"),
    [("beta", -0.1), ("epsilon", 0.0), ("epsilon", 1.0), ("group_size", 1), ("temperature", 0.0)],
)
def test_values_outside_their_range_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=key):
        tiny.part("objective", "grpo", **{key: value})


def test_prompt_and_completion_share_seq_len() -> None:
    with pytest.raises(ValueError, match=r"max_new_tokens must be below data\.seq_len"):
        tiny.objective("grpo", max_new_tokens=16)
