"""Online DPO: the policy samples both completions of a pair, and the reward ranks them.

Guo et al. 2024, https://arxiv.org/abs/2402.04792, algorithm 1: two completions per prompt, here the
best and the worst of `group_size`; the loss is DPO's (Rafailov et al. 2023, equation 7). Ties are
excluded from the loss and its count, as are prompts with fewer than two verdicts. Log-probabilities
are at the sampling temperature, as in TRL.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from etude import Capability, Prompt, plugin, require
from etude.config import OnPolicyConfig
from etude.network import Network, Targets
from etude.objective import (
    Ids,
    Loss,
    ObjectiveContext,
    entropy_of,
    log_prob_of,
    preference_loss,
    reference_of,
    sum_rows,
    target_logits,
    token_log_prob,
)
from etude.rl import OnPolicyObjective


@dataclass
class OnlineDpoConfig(OnPolicyConfig):
    group_size: int = 2
    """Completions sampled per prompt; the best and the worst form a pair."""
    beta: float = 0.1
    """Strength of the penalty for leaving the reference policy. Typical: 0.01-0.5."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.beta > 0, f"beta must be positive, got {self.beta}")
        require(self.group_size >= 2, f"group_size must be at least 2, got {self.group_size}")


@dataclass
class RankedPair:
    """Two completions of a prompt, the better one first."""

    prompt: Ids
    completions: list[Ids]
    rewards: list[float]
    truncated: int
    """How many of the two were truncated by max_new_tokens."""


@dataclass
class RankedPairBatch:
    """The better completions of all prompts, then the worse ones, row by row."""

    targets: Targets
    reward: Float[Tensor, "side pair"]
    truncated: Int[Tensor, " pair"]

    @property
    def has_winner(self) -> Bool[Tensor, " pair"]:
        """Whether the first one is better; false for ties and missing verdicts."""
        return self.reward[0] > self.reward[1]


@plugin(
    OnlineDpoConfig,
    reads={Prompt},
    needs={Capability.GENERATE},
    lr=5e-7,
    data="arithmetic",
    reward="exact_answer",
)
class OnlineDpo(OnPolicyObjective[OnlineDpoConfig, RankedPairBatch]):
    """DPO on pairs sampled from the policy; the loss is a mean over pairs."""

    unit = "pairs"
    sample_type = RankedPair

    def __init__(self, config: OnlineDpoConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        self.reference = reference_of(network)

    @property
    def samples_per_prompt(self) -> int:
        return 1

    def rollout(
        self, prompts: Sequence[Prompt], keys: Sequence[tuple[int, ...]]
    ) -> list[RankedPair]:
        episodes, rewards, _ = self.sample_and_score(prompts, keys)
        size = self.config.group_size
        infinite = float("inf")
        best = rewards.nan_to_num(-infinite).argmax(dim=1)
        worst = rewards.nan_to_num(infinite).argmin(dim=1)
        pairs: list[RankedPair] = []
        for i, sides in enumerate(torch.stack([best, worst], dim=1).tolist()):
            rows = [episodes[size * i + side] for side in sides]
            n_truncated = sum(not row.is_finished for row in rows)
            ids = [row.completion for row in rows]
            scores = rewards[i, sides].tolist()
            pairs.append(RankedPair(rows[0].prompt, ids, scores, n_truncated))
        return pairs

    def collate(self, examples: Sequence[RankedPair]) -> RankedPairBatch:
        rows = [(e.prompt, e.completions[side]) for side in (0, 1) for e in examples]
        return RankedPairBatch(
            targets=self.network.answer(rows),
            reward=torch.tensor([e.rewards for e in examples]).T,
            truncated=torch.tensor([e.truncated for e in examples]),
        )

    def count(self, batch: RankedPairBatch) -> float:
        return float(batch.has_winner.sum())

    def loss(self, batch: RankedPairBatch) -> Loss:
        targets = batch.targets
        config = self.config
        has_winner = batch.has_winner
        logits = target_logits(self.network, targets, config.temperature)
        reference = token_log_prob(self.reference, targets, config.temperature)
        log_ratio = log_prob_of(logits, targets) - reference
        chosen, rejected = sum_rows(log_ratio, targets.where).view(2, -1)
        margin = (config.beta * (chosen - rejected))[has_winner]
        known = ~batch.reward.isnan()
        reward = batch.reward.nan_to_num()
        metrics = {
            "accuracy": (margin > 0).sum(),
            "margin": margin.detach().sum(),
            "kl": log_ratio.detach().sum(),
            "entropy": entropy_of(logits.detach()).sum(),
            "reward": reward.sum(),
            "reward_squares": reward.square().sum(),
            "known": known.sum(),
            "n_completions": known.numel() * torch.ones_like(reward[0, 0]),
            "n_tokens": targets.where.sum(),
            "response_length": targets.where.sum(),
            "truncated": batch.truncated.sum(),
            "zero_variance": 2 * (~has_winner).sum(),
        }
        return Loss(preference_loss(margin).sum(), metrics)
