import math
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from tiny import assert_close
from torch import Tensor

from etude.plugins.objective._ppo.reward_shaping import (
    Controller,
    KlEstimator,
    RewardScaling,
    Shaping,
    ShapingConfig,
    Unfinished,
    next_kl_coefficient,
    token_rewards,
)
from etude.rl.completions import Completion


def alone(value: Tensor) -> Tensor:
    """The sum over one rank."""
    return value


def twice(value: Tensor) -> Tensor:
    """The sum over two ranks with equal values."""
    return 2 * value


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def completions(*given: tuple[float, int, bool]) -> list[Completion]:
    """Completions with a reward, a length, and whether they are finished."""
    return [
        Completion([2], [200] * n, np.zeros(n), reward, ended, has_zero_variance=False, kl=0.0)
        for reward, n, ended in given
    ]


def test_golden_rewards() -> None:
    kl, mask = numbers(0.1, -0.05, 0.2, 0.0)[None], torch.ones(1, 4, dtype=torch.bool)
    assert_close(token_rewards(kl, numbers(1.0), 0.2, mask)[0], numbers(-0.02, 0.01, -0.04, 1.0))


@pytest.mark.parametrize(
    ("kl", "beta"), [(3.0, 0.148464), (6.0, 0.15), (6.5, 0.15064), (12.0, 0.151536)]
)
def test_golden_kl_coefficients(kl: float, beta: float) -> None:
    assert next_kl_coefficient(0.15, kl, 512.0, 6.0, 10_000.0) == pytest.approx(beta, abs=1e-6)


def test_rewards_sum_to_the_score_minus_beta_times_the_divergence() -> None:
    draw = torch.Generator().manual_seed(0)
    divergence = torch.randn(64, 9, generator=draw, dtype=torch.float64)
    score = torch.randn(64, generator=draw, dtype=torch.float64)
    mask = torch.rand(64, 9, generator=draw) < 0.6
    mask[:, 4] = True
    found = token_rewards(divergence, score, 0.3, mask)
    assert_close(found.sum(1), score - 0.3 * (divergence * mask).sum(1))
    assert not found[~mask].any()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, [1.0, 1.0, 1.0, math.nan]),
        ({"unfinished": Unfinished.replace}, [1.0, -1.0, 1.0, math.nan]),
        ({"unfinished": Unfinished.replace, "unfinished_score": -3.0}, [1.0, -3.0, 1.0, math.nan]),
        ({"unfinished": Unfinished.replace, "min_new_tokens": 3}, [1.0, -1.0, -1.0, math.nan]),
        ({"unfinished": Unfinished.subtract}, [1.0, 0.0, 1.0, math.nan]),
        ({"unfinished": Unfinished.subtract, "unfinished_penalty": 3.0}, [1, -2.0, 1, math.nan]),
        ({"reward_mean": 0.5, "reward_std": 0.25}, [2.0, 2.0, 2.0, math.nan]),
        (
            {"reward_mean": 0.5, "reward_std": 0.25, "unfinished": Unfinished.subtract},
            [2.0, 1.0, 2.0, math.nan],
        ),
    ],
)
def test_scores_are_those_computed_by_hand(given: dict[str, Any], wanted: list[float]) -> None:
    """A finished completion, a truncated one, a short one, and one without a verdict."""
    rows = completions((1.0, 4, True), (1.0, 4, False), (1.0, 2, True), (math.nan, 4, False))
    found = Shaping(ShapingConfig(**given)).scores(rows, alone)
    torch.testing.assert_close(found, numbers(*wanted), equal_nan=True)


def test_running_scaling_uses_all_rewards_so_far_of_all_ranks() -> None:
    shaping = Shaping(ShapingConfig(reward_scaling=RewardScaling.running))
    first = shaping.scores(completions((0.0, 1, True), (1.0, 1, True), (math.nan, 1, True)), twice)
    torch.testing.assert_close(first, numbers(-1.0, 1.0, math.nan), equal_nan=True)
    assert shaping.reward_moments.n == 4
    second = shaping.scores(completions((4.0, 1, True)), twice)
    every = numbers(0, 1, 0, 1, 4, 4)
    assert_close(second, (4.0 - every.mean())[None] / (every.var(correction=0) + 1e-8).sqrt())


def test_beta_follows_the_divergence_of_all_ranks_unless_it_is_fixed() -> None:
    kl = numbers(10.0, 14.0)
    shaping = Shaping(ShapingConfig(beta=0.15, kl_horizon=40.0))
    shaping.adapt(kl, twice)
    assert shaping.beta == pytest.approx(0.15 * (1 + 0.2 * 4 / 40), abs=1e-12)
    fixed = Shaping(ShapingConfig(beta=0.15, controller=Controller.fixed))
    fixed.adapt(kl, twice)
    assert fixed.beta == 0.15


def test_the_divergence_is_k1_or_k3() -> None:
    policy, reference = numbers(-1.2)[None], numbers(-1.0)[None]
    for estimator, wanted in {KlEstimator.k1: -0.2, KlEstimator.k3: 0.021403}.items():
        shaping = Shaping(ShapingConfig(kl_estimator=estimator))
        assert float(shaping.divergences(policy, reference)) == pytest.approx(wanted, abs=1e-6)


def test_whitened_rewards_have_variance_1_and_an_unchanged_mean() -> None:
    kl, mask = numbers(0.1, -0.05, 0.2, 0.0)[None], torch.ones(1, 4, dtype=torch.bool)
    plain, white = (
        Shaping(ShapingConfig(beta=0.2, whiten_rewards=on)).rewards(kl, numbers(1.0), mask, alone)
        for on in (False, True)
    )
    assert_close(white.mean(), plain.mean())
    assert float(white.var(correction=0)) == pytest.approx(1, abs=1e-6)
    assert_close(
        (plain - plain.mean()) / (plain.var(correction=0) + 1e-8).sqrt() + plain.mean(), white
    )


def test_the_state_is_restored_exactly() -> None:
    one, other = (
        Shaping(ShapingConfig(reward_scaling=RewardScaling.running, kl_horizon=7.0)) for _ in "ab"
    )
    one.scores(completions((0.1, 1, True), (0.7, 1, True)), alone)
    one.adapt(numbers(1.0, 2.0), alone)
    other.load_state_dict(one.state_dict())
    assert (other.beta, other.reward_moments) == (one.beta, one.reward_moments)
    assert one.beta != 0.05


@pytest.mark.parametrize(
    "given",
    [
        {"beta": -0.1},
        {"kl_target": 0.0},
        {"kl_horizon": 0.0},
        {"reward_std": 0.0},
        {"unfinished_penalty": -1.0},
        {"min_new_tokens": -1},
    ],
)
def test_values_outside_their_range_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        tiny.part("objective", "ppo", **given)
