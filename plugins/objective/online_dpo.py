"""Online DPO: the policy writes both completions of a pair, and the reward says which is better.

Guo et al. 2024, https://arxiv.org/abs/2402.04792, algorithm 1: two completions a prompt, here the
best and the worst of `group_size`; the loss is DPO's (Rafailov et al. 2023, equation 7). Ties teach
nothing, and are left out of the loss and its count, as are prompts with less than two verdicts.
Log-probabilities are at the temperature of sampling, as in TRL.
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
    """Completions sampled for each prompt, of which the best and the worst make a pair."""
    beta: float = 0.1
    """Pull towards the reference policy; larger stays closer. Usual range 0.01 to 0.5."""

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
    """How many of both max_new_tokens cut."""


@dataclass
class MatchBatch:
    """The better completion of every prompt, then the worse of every prompt, row by row."""

    targets: Targets
    reward: Float[Tensor, "side pair"]
    truncated: Int[Tensor, " pair"]

    @property
    def is_won(self) -> Bool[Tensor, " pair"]:
        """Whether one is better; it is not where there is no verdict."""
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
    """A mean over pairs; a sample is a pair."""

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
