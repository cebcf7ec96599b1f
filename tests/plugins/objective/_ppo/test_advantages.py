import numpy as np
import pytest
import torch
from tiny import assert_close
from torch import Tensor

from etude.plugins.objective._ppo.advantages import (
    Moments,
    estimated_advantages,
    moments,
    pad_rows,
    scale_to_unit_variance,
    token_rewards,
    whiten,
)


def numbers(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def alone(value: Tensor) -> Tensor:
    """The sum over one rank."""
    return value


V = numbers([0.5, 0.4, 0.3, 0.2])
ALL = torch.ones(1, 4, dtype=torch.bool)
A = numbers([0.35405, 0.499, 0.62, 0.8])


def test_golden_advantages_and_returns() -> None:
    reward = numbers([-0.02, 0.01, -0.04, 1.0])
    advantage, returns = estimated_advantages(reward, V, ALL, 1.0, 0.95)
    assert_close(advantage, A)
    assert_close(returns, numbers([0.85405, 0.899, 0.92, 1.0]))


def test_whitening_uses_the_population_variance() -> None:
    found = whiten(A, ALL, alone)
    population = numbers([-1.309346, -0.423358, 0.316239, 1.416465])
    torch.testing.assert_close(found, population, rtol=0.0, atol=1e-6)
    bessel = numbers([-1.133927, -0.366639, 0.273871, 1.226695])
    torch.testing.assert_close(found * (3 / 4) ** 0.5, bessel, rtol=0.0, atol=1e-6)


def random_rows() -> tuple[Tensor, Tensor, Tensor]:
    """Rewards, values and a mask of rows of up to 9 tokens, with gaps."""
    draw = torch.Generator().manual_seed(0)
    reward, value = torch.randn(2, 64, 9, generator=draw, dtype=torch.float64)
    return reward, value, torch.rand(64, 9, generator=draw) < 0.6


def test_without_discount_the_advantage_is_the_sum_of_later_rewards_minus_the_value() -> None:
    reward, value, mask = random_rows()
    remaining = torch.where(mask, reward, 0.0).flip(1).cumsum(1).flip(1)
    advantage, returns = estimated_advantages(reward, value, mask, 1.0, 1.0)
    assert_close(advantage, torch.where(mask, remaining - value, 0.0))
    assert_close(returns, torch.where(mask, remaining, 0.0))


def test_masked_positions_are_skipped_wherever_they_are() -> None:
    reward, value, mask = random_rows()
    found = estimated_advantages(reward, value, mask, 0.9, 0.8)
    for row in range(len(mask)):
        own = mask[row]
        after = advantage = 0.0
        closed: list[float] = []
        pairs = zip(reward[row, own].tolist(), value[row, own].tolist(), strict=True)
        for r, v in reversed(list(pairs)):
            advantage, after = r + 0.9 * after - v + 0.9 * 0.8 * advantage, v
            closed.insert(0, advantage)
        assert_close(found[0][row, own], torch.tensor(closed, dtype=torch.float64))
        assert_close(found[1][row, own], found[0][row, own] + value[row, own])
    assert not found[0][~mask].any()
    assert not found[1][~mask].any()


def test_whitened_values_have_mean_0_and_variance_1_and_are_0_elsewhere() -> None:
    values, _, mask = random_rows()
    found = whiten(5 * values + 3, mask, alone)
    assert_close(found[mask].mean(), torch.zeros(()).double())
    assert float(found[mask].var(correction=0)) == pytest.approx(1, abs=1e-8)
    assert not found[~mask].any()


def test_scaling_to_unit_variance_keeps_the_mean() -> None:
    values, _, mask = random_rows()
    values = 5 * values + 3
    found = scale_to_unit_variance(values, mask, alone)
    assert_close(found[mask].mean(), values[mask].mean())
    assert_close(found[mask], whiten(values, mask, alone)[mask] + values[mask].mean())
    assert not found[~mask].any()


def test_equal_values_are_whitened_to_0() -> None:
    values = torch.full((2, 3), 0.75, dtype=torch.float64)
    assert not whiten(values, torch.ones(2, 3, dtype=torch.bool), alone).any()


def test_moments_are_those_of_all_ranks() -> None:
    """The sums exchanged by two ranks give both the moments of all values."""
    values = torch.randn(50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    halves = values[:20], values[20:]
    mean = values.mean()

    def over_ranks(mine: Tensor) -> Tensor:
        other = halves[1]
        if mine.ndim:
            return mine + torch.stack([other.new_tensor(len(other)), other.sum()])
        return mine + (other - mean).square().sum()

    found = moments(halves[0], over_ranks)
    assert found.n == 50
    assert found.mean == pytest.approx(float(mean), abs=1e-12)
    assert found.variance == pytest.approx(float(values.var(correction=0)), abs=1e-12)


def test_merged_moments_are_those_of_all_numbers() -> None:
    values = torch.randn(50, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    parts = [moments(part, alone) for part in values.split([1, 30, 19])]
    found = Moments()
    for part in parts:
        found = found.merge(part)
    whole = moments(values, alone)
    assert (found.n, found.mean, found.variance) == pytest.approx(
        (whole.n, whole.mean, whole.variance), abs=1e-12
    )
    assert whole.merge(Moments()) == whole
    assert moments(values[:0], alone) == Moments() == Moments().merge(Moments())


def test_rows_are_padded_on_the_right_with_zeros() -> None:
    assert_close(pad_rows([np.array([1.0, 2.0]), np.array([3.0])]), numbers([1.0, 2.0], [3.0, 0.0]))


@pytest.mark.parametrize(("gamma", "decay"), [(1.0, 0.95), (0.9, 0.5), (1.0, 0.0)])
def test_the_rewards_are_recovered_from_returns_and_values(gamma: float, decay: float) -> None:
    reward, value, mask = random_rows()
    _, returns = estimated_advantages(reward, value, mask, gamma, decay)
    for row in range(len(reward)):
        at = mask[row]
        found = token_rewards(returns[row, at], value[row, at], gamma, decay)
        assert_close(found, reward[row, at])
