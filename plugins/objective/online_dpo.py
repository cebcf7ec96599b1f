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
from etude.network import Network, Targets
from etude.objective import (
    Ids,
    Loss,
    ObjectiveContext,
    due_logits,
    entropy_of,
    log_prob_of,
    preference_loss,
    reference_of,
    sum_rows,
    token_log_prob,
)
from etude.rl import OnPolicyConfig, OnPolicyObjective


@dataclass
class OnlineDpoConfig(OnPolicyConfig):
    group_size: int = 2
    """Completions sampled per prompt; the best and the worst form a pair."""
    beta: float = 0.1
    """Strength of the pull to the reference policy; larger stays closer. Typical: 0.01-0.5."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.beta > 0, f"beta must be positive, got {self.beta}")
        require(self.group_size >= 2, f"group_size must be at least 2, got {self.group_size}")


@dataclass
class Match:
    """Two completions of a prompt, the better one first."""

    prompt: Ids
    completions: list[Ids]
    rewards: list[float]
    truncated: int
    """How many of the two were truncated by max_new_tokens."""


@dataclass
class MatchBatch:
    """The better completions of all prompts, then the worse ones, row by row."""

    targets: Targets
    reward: Float[Tensor, "side pair"]
    truncated: Int[Tensor, " pair"]

    @property
    def is_won(self) -> Bool[Tensor, " pair"]:
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
class OnlineDpo(OnPolicyObjective[OnlineDpoConfig, MatchBatch]):
    """DPO on pairs sampled from the policy; the loss is a mean over pairs."""

    sample_type = Match

    def __init__(self, config: OnlineDpoConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        self.reference = reference_of(network)

    @property
    def samples_per_prompt(self) -> int:
        return 1

    def rollout(self, prompts: Sequence[Prompt], keys: Sequence[tuple[int, ...]]) -> list[Match]:
        before, written, rewards, _ = self.write(prompts, keys)
        size = self.config.group_size
        infinite = float("inf")
        best = rewards.nan_to_num(-infinite).argmax(dim=1)
        worst = rewards.nan_to_num(infinite).argmin(dim=1)
        matches: list[Match] = []
        for i, sides in enumerate(torch.stack([best, worst], dim=1).tolist()):
            pair = [written[size * i + side] for side in sides]
            cut = sum(not row.ended for row in pair)
            ids = [row.ids for row in pair]
            matches.append(Match(before[size * i], ids, rewards[i, sides].tolist(), cut))
        return matches

    def collate(self, examples: Sequence[Match]) -> MatchBatch:
        rows = [(e.prompt, e.completions[side]) for side in (0, 1) for e in examples]
        return MatchBatch(
            targets=self.network.answer(rows),
            reward=torch.tensor([e.rewards for e in examples]).T,
            truncated=torch.tensor([e.truncated for e in examples]),
        )

    def count(self, batch: MatchBatch) -> float:
        return float(batch.is_won.sum())

    def loss(self, batch: MatchBatch) -> Loss:
        targets = batch.targets
        config = self.config
        won = batch.is_won
        logits = due_logits(self.network, targets, config.temperature)
        told = token_log_prob(self.reference, targets, config.temperature)
        log_ratio = log_prob_of(logits, targets) - told
        chosen, rejected = sum_rows(log_ratio, targets.where).view(2, -1)
        margin = (config.beta * (chosen - rejected))[won]
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
            "attempts": known.numel() * torch.ones_like(reward[0, 0]),
            "response_length": targets.where.sum(),
            "truncated": batch.truncated.sum(),
            "zero_variance": 2 * (~won).sum(),
        }
        return Loss(preference_loss(margin).sum(), metrics)
