"""GDPO: normalises each of several rewards in its group before they are summed.

Liu et al. 2026 (Group reward-Decoupled Normalization Policy Optimization),
https://arxiv.org/abs/2601.05242, section 3: GRPO normalises the sum, so that different combinations
of rewards get the same advantage. Here each reward is normalised in its group, and the weighted sum
of the results over the whole rollout and all ranks. The rest is GRPO: clipped ratios, the k3
estimate of the KL divergence, and a mean over tokens of the global batch (as in DAPO).
Where implementations differ: standard deviations are Bessel-corrected and 1e-4 is added, as in TRL.
A reward without a verdict adds nothing; a completion without any is not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from etude import Capability, Prompt, plugin, require
from etude.config import OnPolicyConfig
from etude.network import Network
from etude.objective import (
    Loss,
    ObjectiveContext,
    all_gather,
    entropy_of,
    reference_of,
    sum_rows,
    token_log_prob,
)
from etude.rl import (
    Completion,
    CompletionBatch,
    OnPolicyObjective,
    completion_batch,
    metric_sums,
    reward_weights,
)

from ._policy_gradient import clip_counts, clipped_objective, group_advantages, k3, nan_std


@dataclass
class GdpoConfig(OnPolicyConfig):
    beta: float = 0.04
    """KL penalty coefficient; 0 disables the reference network. Typical: 0-0.1."""
    epsilon: float = 0.2
    """Clips probability ratios below 1 - epsilon. Typical: 0.2."""
    epsilon_high: float | None = None
    """Clips them above 1 + epsilon_high; null = epsilon. Typical: 0.2-0.28."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.beta >= 0, f"beta must be 0 or more, got {self.beta}")
        require(0 < self.epsilon < 1, f"epsilon must be in (0, 1), got {self.epsilon}")
        require(self.upper > 0, f"epsilon_high must be positive, got {self.upper}")
        require(self.group_size >= 2, f"group_size must be at least 2, got {self.group_size}")

    @property
    def upper(self) -> float:
        """How far the ratio may rise above 1."""
        return self.epsilon if self.epsilon_high is None else self.epsilon_high


def decoupled_sum(
    rewards: Float[Tensor, "reward prompt group"], weights: Float[Tensor, " reward"]
) -> Float[Tensor, "prompt group"]:
    """Weighted sum of rewards that are normalised in their groups; NaN where all are missing."""
    normed = torch.stack([group_advantages(reward, nan_std(reward)) for reward in rewards])
    total = (weights[:, None, None] * normed).nansum(dim=0)
    return total.masked_fill(rewards.isnan().all(dim=0), torch.nan)


@plugin(
    GdpoConfig,
    reads={Prompt},
    needs={Capability.GENERATE},
    lr=1e-6,
    data="arithmetic",
    reward="exact_answer",
    multi_turn=True,
)
class Gdpo(OnPolicyObjective[GdpoConfig, CompletionBatch]):
    """Maximises the clipped surrogate minus the KL penalty; the loss is a mean over tokens."""

    sample_type = Completion

    def __init__(self, config: GdpoConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        self.reference = reference_of(network) if config.beta > 0 else None

    def rollout(
        self, prompts: Sequence[Prompt], keys: Sequence[tuple[int, ...]]
    ) -> list[Completion]:
        completions = self.sample_completions(prompts, keys)
        scores = [c.parts or {"reward": c.reward} for c in completions]
        names = list(scores[0])
        rewards = torch.tensor([[row[n] for row in scores] for n in names], dtype=torch.float64)
        by_name = reward_weights(self.tools)
        weights = torch.tensor([by_name.get(n, 1.0) for n in names], dtype=torch.float64)
        summed = decoupled_sum(rewards.unflatten(1, (len(prompts), -1)), weights)
        pooled = torch.cat(all_gather(summed)).view(1, -1)
        advantages = (summed - pooled.nanmean()) / (nan_std(pooled) + 1e-4)
        rows = zip(completions, advantages.flatten().tolist(), strict=True)
        return [replace(completion, advantage=advantage) for completion, advantage in rows]

    def collate(self, examples: Sequence[Completion]) -> CompletionBatch:
        return completion_batch(examples, self.network)

    def count(self, batch: CompletionBatch) -> float:
        return float(batch.lengths[batch.is_in_loss].sum())

    def loss(self, batch: CompletionBatch) -> Loss:
        config = self.config
        logits, log_prob, log_ratio = self.recompute_log_probs(batch)
        advantage = batch.advantage.nan_to_num().repeat_interleave(batch.lengths)
        gain = clipped_objective(log_ratio, advantage, config.epsilon, config.upper)
        tokens = clip_counts(log_ratio, advantage, config.epsilon, config.upper)
        tokens |= {"ratio": log_ratio.exp(), "entropy": entropy_of(logits.detach())}
        if self.reference is not None:
            reference = token_log_prob(self.reference, batch.targets, config.temperature)
            tokens["kl"] = k3(log_prob, reference)
            gain = gain - config.beta * tokens["kl"]
        rows = sum_rows(gain, batch.targets.where)
        return Loss(-rows[batch.is_in_loss].sum(), metric_sums(batch, tokens))
