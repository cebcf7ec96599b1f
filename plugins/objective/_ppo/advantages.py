"""Generalised advantage estimation: how much better each token turned out than expected.

Schulman et al. 2015, https://arxiv.org/abs/1506.02438, equation 16. Variances are population
variances, as in the code of Ziegler et al. 2019; TRL's are n / (n - 1) times as large.
Each row is a completion; `mask` is true at the tokens that the policy wrote, at any position.
Positions between or after them are skipped without a discount, and get 0.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

OverRanks = Callable[[Tensor], Tensor]
"""Sums a tensor over the data-parallel processes."""


def pad_rows(rows: Sequence[np.ndarray]) -> Float[Tensor, "batch seq *more"]:
    """Pads rows `[tokens, *more]` of different lengths with 0 and stacks them in float64."""
    return pad_sequence([torch.from_numpy(row).double() for row in rows], batch_first=True)


def estimated_advantages(
    reward: Float[Tensor, "batch seq"],
    value: Float[Tensor, "batch seq"],
    mask: Bool[Tensor, "batch seq"],
    gamma: float,
    decay: float,
) -> tuple[Float[Tensor, "batch seq"], Float[Tensor, "batch seq"]]:
    """Generalised advantages with lambda = `decay`, and returns = advantage + value.

    delta_t = reward_t + gamma value_t+1 - value_t, and A_t = delta_t + gamma decay A_t+1; the value
    after the last token is 0.
    """
    next_value = torch.zeros_like(reward[:, 0])
    advantage = torch.zeros_like(reward[:, 0])
    reversed_advantages: list[Tensor] = []
    for t in reversed(range(reward.shape[1])):
        delta = reward[:, t] + gamma * next_value - value[:, t]
        advantage = torch.where(mask[:, t], delta + gamma * decay * advantage, advantage)
        next_value = torch.where(mask[:, t], value[:, t], next_value)
        reversed_advantages.append(advantage)
    advantages = torch.stack(reversed_advantages[::-1], dim=1)
    return torch.where(mask, advantages, 0.0), torch.where(mask, advantages + value, 0.0)


def token_rewards(
    returns: Float[Tensor, " n"], value: Float[Tensor, " n"], gamma: float, decay: float
) -> Float[Tensor, " n"]:
    """The rewards of a completion's tokens, from the returns that `estimated_advantages` made."""
    advantage = returns - value
    next_value, next_advantage = (torch.cat([x[1:], x.new_zeros(1)]) for x in (value, advantage))
    return returns - gamma * (next_value + decay * next_advantage)


@dataclass(frozen=True)
class Moments:
    """Mean and population variance of n numbers."""

    n: float = 0.0
    mean: float = 0.0
    variance: float = 0.0

    def standardize(self, values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """(values - mean) / sqrt(variance + 1e-8)."""
        return (values - self.mean) / math.sqrt(self.variance + 1e-8)

    def merge(self, other: "Moments") -> "Moments":
        """The moments of both sets of numbers combined: Chan et al. 1983."""
        if other.n == 0:
            return self
        n = self.n + other.n
        share = other.n / n
        gap = other.mean - self.mean
        variance = (1 - share) * self.variance + share * other.variance
        return Moments(n, self.mean + share * gap, variance + share * (1 - share) * gap**2)


def moments(values: Float[Tensor, " n"], over_ranks: OverRanks) -> Moments:
    """The moments of the values across all ranks; every rank gets the same result."""
    values = values.double()
    n, total = over_ranks(torch.stack([values.new_tensor(len(values)), values.sum()])).tolist()
    mean = total / max(n, 1.0)
    squares = float(over_ranks((values - mean).square().sum()))
    return Moments(n, mean, squares / max(n, 1.0))


def whiten(
    values: Float[Tensor, "batch seq"], mask: Bool[Tensor, "batch seq"], over_ranks: OverRanks
) -> Float[Tensor, "batch seq"]:
    """Standardises values to mean 0 and variance 1 over the tokens of all ranks."""
    pooled = moments(values[mask], over_ranks)
    return torch.where(mask, pooled.standardize(values), 0.0)


def scale_to_unit_variance(
    values: Float[Tensor, "batch seq"], mask: Bool[Tensor, "batch seq"], over_ranks: OverRanks
) -> Float[Tensor, "batch seq"]:
    """Scales values to variance 1 over the tokens of all ranks, and keeps their mean."""
    pooled = moments(values[mask], over_ranks)
    return torch.where(mask, pooled.standardize(values) + pooled.mean, 0.0)
