"""Reward shaping: turns the reward of a completion into rewards of its tokens.

Ziegler et al. 2019, https://arxiv.org/abs/1909.08593, sections 2.1 and 2.2: each token costs beta
times its divergence from the reference policy, and the score is added at the last token. As in
their code, an adaptive beta changes by at most a fifth per `kl_horizon` completions, where the
paper limits it to a fiftieth per step. For unfinished completions, their code replaces the score,
TRL subtracts from it, and torchtune also replaces that of short ones.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from etude import only_with, require
from etude.config import OnPolicyConfig
from etude.rl import Completion

from .._policy_gradient import k1, k3
from .advantages import Moments, OverRanks, moments, scale_to_unit_variance


class KlEstimator(Enum):
    """Estimator of each token's KL divergence from the reference."""

    k1 = "k1"
    k3 = "k3"


class Controller(Enum):
    """How beta changes during training."""

    adaptive = "adaptive"
    fixed = "fixed"


class RewardScaling(Enum):
    """Which mean and standard deviation normalise a reward."""

    fixed = "fixed"
    running = "running"


class Unfinished(Enum):
    """How the score of an unfinished or too short completion is treated."""

    keep = "keep"
    replace = "replace"
    subtract = "subtract"


@dataclass
class ShapingConfig(OnPolicyConfig):
    """Base config of objectives that give each token a reward."""

    beta: float = 0.05
    """Initial KL penalty coefficient; 0 disables the reference network. Typical: 0.01-0.2."""
    kl_estimator: KlEstimator = only_with("beta>0", KlEstimator.k1)
    """KL estimator: k1 is log p / p_ref, k3 is never negative."""
    controller: Controller = only_with("beta>0", Controller.adaptive)
    """adaptive steers beta towards kl_target; fixed keeps it constant."""
    kl_target: float = only_with("controller=adaptive", 6.0)
    """Target divergence per completion, in nats, for an adaptive beta. Typical: 1-10."""
    kl_horizon: float = only_with("controller=adaptive", 10_000.0)
    """Number of completions over which an adaptive beta changes by at most a fifth."""
    reward_scaling: RewardScaling = RewardScaling.fixed
    """Normalises scores: fixed by reward_mean and reward_std, running by all rewards so far."""
    reward_mean: float = only_with("reward_scaling=fixed", 0.0)
    """Mean subtracted from the reward."""
    reward_std: float = only_with("reward_scaling=fixed", 1.0)
    """Standard deviation that divides the reward; positive."""
    unfinished: Unfinished = Unfinished.keep
    """For unfinished completions: keep the score, replace it, or subtract a penalty from it."""
    unfinished_score: float = only_with("unfinished=replace", -1.0)
    """Score of an unfinished completion; should be below most other scores."""
    unfinished_penalty: float = only_with("unfinished=subtract", 1.0)
    """Penalty subtracted from the score of an unfinished completion."""
    min_new_tokens: int = only_with("unfinished!=keep", 0)
    """Completions with fewer tokens than this also count as unfinished."""
    whiten_rewards: bool = False
    """Scale the token rewards of a rollout to variance 1; their mean does not change."""

    def __post_init__(self) -> None:
        super().__post_init__()
        values = vars(self)
        for name in ("kl_target", "kl_horizon", "reward_std"):
            require(values[name] > 0, f"{name} must be positive, got {values[name]}")
        for name in ("beta", "unfinished_penalty", "min_new_tokens"):
            require(values[name] >= 0, f"{name} must be 0 or more, got {values[name]}")


def token_rewards(
    divergence: Float[Tensor, "batch seq"],
    score: Float[Tensor, " batch"],
    beta: float,
    mask: Bool[Tensor, "batch seq"],
) -> Float[Tensor, "batch seq"]:
    """-beta * divergence per token, plus the score at the last one: score - beta KL in total."""
    n_tokens = mask.cumsum(dim=1)
    last = mask & (n_tokens == n_tokens[:, -1:])
    return torch.where(mask, -beta * divergence, 0.0) + torch.where(last, score[:, None], 0.0)


def next_kl_coefficient(beta: float, kl: float, n: float, target: float, horizon: float) -> float:
    """The updated beta after n completions with a mean divergence of `kl` nats."""
    error = min(max(kl / target - 1, -0.2), 0.2)
    return beta * (1 + error * n / horizon)


class Shaping:
    """The current beta and the reward moments: the same on every rank, saved in checkpoints."""

    def __init__(self, config: ShapingConfig) -> None:
        self.config = config
        self.beta = config.beta
        self.reward_moments = Moments()

    def divergences(
        self, log_prob: Float[Tensor, "batch seq"], reference: Float[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch seq"]:
        """Divergence of each token from the reference, in nats."""
        return {KlEstimator.k1: k1, KlEstimator.k3: k3}[self.config.kl_estimator](
            log_prob, reference
        )

    def scores(
        self, completions: Sequence[Completion], over_ranks: OverRanks
    ) -> Float[Tensor, " batch"]:
        """Scores of completions, NaN without a verdict; updates the running reward moments."""
        config = self.config
        shortest = config.min_new_tokens
        reward = torch.tensor([c.reward for c in completions], dtype=torch.float64)
        unfinished = torch.tensor(
            [not c.is_finished or len(c.log_prob) < shortest for c in completions]
        )
        self.reward_moments = self.reward_moments.merge(
            moments(reward[~reward.isnan()], over_ranks)
        )
        running = config.reward_scaling is RewardScaling.running
        score = (
            self.reward_moments.standardize(reward)
            if running
            else (reward - config.reward_mean) / config.reward_std
        )
        match config.unfinished:
            case Unfinished.keep:
                return score
            case Unfinished.replace:
                return torch.where(unfinished & ~score.isnan(), config.unfinished_score, score)
            case Unfinished.subtract:
                return score - config.unfinished_penalty * unfinished

    def rewards(
        self,
        divergence: Float[Tensor, "batch seq"],
        score: Float[Tensor, " batch"],
        mask: Bool[Tensor, "batch seq"],
        over_ranks: OverRanks,
    ) -> Float[Tensor, "batch seq"]:
        """Reward of each token of a rollout."""
        reward = token_rewards(divergence, score, self.beta, mask)
        if self.config.whiten_rewards:
            return scale_to_unit_variance(reward, mask, over_ranks)
        return reward

    def adapt(self, kl: Float[Tensor, " batch"], over_ranks: OverRanks) -> None:
        """Updates beta from the divergences of a rollout; the next rollout uses it."""
        if self.config.controller is Controller.adaptive:
            pooled = moments(kl, over_ranks)
            target = self.config.kl_target
            horizon = self.config.kl_horizon
            self.beta = next_kl_coefficient(self.beta, pooled.mean, pooled.n, target, horizon)

    def state_dict(self) -> dict[str, Any]:
        return {"beta": self.beta, "seen": asdict(self.reward_moments)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.beta = state["beta"]
        self.reward_moments = Moments(**state["seen"])
