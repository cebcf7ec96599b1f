"""Reward shaping: from the reward of an answer to those of its tokens.

Ziegler et al. 2019, https://arxiv.org/abs/1909.08593, sections 2.1 and 2.2: every token costs beta
times its divergence from where the policy began, and the score comes with the last. As in their
code, an adaptive beta moves by at most a fifth in `kl_horizon` answers, where the paper moves it by
at most a fiftieth a step. What becomes of an answer without an end: their code replaces its score;
TRL subtracts from it; torchtune replaces that of short ones, too.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from etude import only_with, require
from etude.rl import Completion, OnPolicyConfig

from .._policy_gradient import k1, k3
from .advantages import Moments, OverRanks, moments, of_unit_variance


class Divergence(Enum):
    """An estimator of a token's divergence."""

    k1 = "k1"
    k3 = "k3"


class Controller(Enum):
    """What becomes of beta."""

    adaptive = "adaptive"
    fixed = "fixed"


class Scaling(Enum):
    """Whose mean and deviation a reward is measured by."""

    fixed = "fixed"
    running = "running"


class Unfinished(Enum):
    """What becomes of the score of an answer that has not ended, or too soon."""

    keep = "keep"
    replace = "replace"
    subtract = "subtract"


@dataclass
class ShapingConfig(OnPolicyConfig):
    """What objectives have that give each token a reward."""

    beta: float = 0.05
    """Price of a nat of divergence from the start, at first; 0.01 to 0.2, 0 = no reference."""
    divergence: Divergence = only_with("beta>0", Divergence.k1)
    """Estimator of the divergence: k1 is log p / p_ref, k3 is never negative."""
    controller: Controller = only_with("beta>0", Controller.adaptive)
    """Whether beta follows the divergence or stays."""
    kl_target: float = only_with("controller=adaptive", 6.0)
    """Divergence of a completion, in nats, that an adaptive beta keeps to; 1 to 10."""
    kl_horizon: float = only_with("controller=adaptive", 10_000.0)
    """Completions over which an adaptive beta moves by at most a fifth."""
    scaling: Scaling = Scaling.fixed
    """The score is (reward - mean) / deviation: of the numbers below, or of all rewards so far."""
    reward_mean: float = only_with("scaling=fixed", 0.0)
    """Subtracted from the reward."""
    reward_std: float = only_with("scaling=fixed", 1.0)
    """Divides the reward."""
    unfinished: Unfinished = Unfinished.keep
    """Whether the score of a completion that has not ended is kept, replaced, or lessened."""
    unfinished_score: float = only_with("unfinished=replace", -1.0)
    """Score of a completion that has not ended; below most others."""
    unfinished_penalty: float = only_with("unfinished=subtract", 1.0)
    """Subtracted from the score of a completion that has not ended."""
    min_new_tokens: int = only_with("unfinished!=keep", 0)
    """A completion of fewer tokens has not ended, either."""
    whiten_rewards: bool = False
    """Whether the rewards of a rollout's tokens get variance 1; their mean stays."""

    def __post_init__(self) -> None:
        super().__post_init__()
        given = vars(self)
        for name in ("kl_target", "kl_horizon", "reward_std"):
            require(given[name] > 0, f"{name} must be positive, got {given[name]}")
        for name in ("beta", "unfinished_penalty", "min_new_tokens"):
            require(given[name] >= 0, f"{name} must be 0 or more, got {given[name]}")


def token_rewards(
    divergence: Float[Tensor, "batch seq"],
    score: Float[Tensor, " batch"],
    beta: float,
    mask: Bool[Tensor, "batch seq"],
) -> Float[Tensor, "batch seq"]:
    """-beta * divergence at each token, and the score at the last: score - beta KL in all."""
    written = mask.cumsum(dim=1)
    last = mask & (written == written[:, -1:])
    return torch.where(mask, -beta * divergence, 0.0) + torch.where(last, score[:, None], 0.0)


def adapted(beta: float, kl: float, n: float, target: float, horizon: float) -> float:
    """The next beta, after n answers whose mean divergence was `kl` nats."""
    error = min(max(kl / target - 1, -0.2), 0.2)
    return beta * (1 + error * n / horizon)


class Shaping:
    """The price of divergence and the rewards so far: the same on every rank, saved with a run."""

    def __init__(self, config: ShapingConfig) -> None:
        self.config = config
        self.beta = config.beta
        self.seen = Moments()

    def divergences(
        self, log_prob: Float[Tensor, "batch seq"], reference: Float[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch seq"]:
        """How far each token went from the reference, in nats."""
        return {Divergence.k1: k1, Divergence.k3: k3}[self.config.divergence](log_prob, reference)

    def scores(
        self, attempts: Sequence[Completion], over_ranks: OverRanks
    ) -> Float[Tensor, " batch"]:
        """What answers are worth; NaN where there is no verdict. Their rewards count as seen."""
        config = self.config
        least = self.config.min_new_tokens
        reward = torch.tensor([a.reward for a in attempts], dtype=torch.float64)
        unfinished = torch.tensor(
            [not a.is_finished or len(a.completion) < least for a in attempts]
        )
        self.seen = self.seen.joined(moments(reward[~reward.isnan()], over_ranks))
        running = config.scaling is Scaling.running
        score = (
            self.seen.standardised(reward)
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
        """What each token of a rollout earns."""
        reward = token_rewards(divergence, score, self.beta, mask)
        return of_unit_variance(reward, mask, over_ranks) if self.config.whiten_rewards else reward

    def adapt(self, kl: Float[Tensor, " batch"], over_ranks: OverRanks) -> None:
        """Moves beta, of the divergences of a rollout's answers: it is the next rollout's then."""
        if self.config.controller is Controller.adaptive:
            known = moments(kl, over_ranks)
            target = self.config.kl_target
            horizon = self.config.kl_horizon
            self.beta = adapted(self.beta, known.mean, known.n, target, horizon)

    def state_dict(self) -> dict[str, Any]:
        return {"beta": self.beta, "seen": asdict(self.seen)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.beta = state["beta"]
        self.seen = Moments(**state["seen"])
