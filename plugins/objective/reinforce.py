"""REINFORCE: raises the probability of completions whose reward exceeds a baseline.

Williams 1992, https://doi.org/10.1007/BF00992696, with a baseline; the running baseline and the
whole completion as one action are from Ahmadian et al. 2024, https://arxiv.org/abs/2402.14740,
section 2.1 and appendix. beta times the divergence from the initial policy (the k1 estimate at
sampling time) is subtracted from each reward. Deviation: both baselines include the current
rollout, so that the first one has a baseline too. Completions without a verdict are excluded.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import torch

from etude import Capability, Prompt, plugin, require
from etude.config import OnPolicyConfig
from etude.network import Network
from etude.objective import Loss, ObjectiveContext, all_gather, entropy_of, reference_of, sum_rows
from etude.rl import (
    Completion,
    CompletionBatch,
    OnPolicyObjective,
    completion_batch,
    metric_sums,
    penalised_rewards,
)


class Baseline(Enum):
    """The baseline subtracted from each reward."""

    running = "running"
    batch = "batch"
    none = "none"


@dataclass
class ReinforceConfig(OnPolicyConfig):
    group_size: int = 1
    """Completions sampled for each prompt."""
    beta: float = 0.05
    """KL penalty coefficient, subtracted from the reward; 0 disables the reference network.
    Typical: 0.03-0.1."""
    baseline: Baseline = Baseline.running
    """running = mean reward of all rollouts so far; batch = mean of this rollout; none = 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.beta >= 0, f"beta must be 0 or more, got {self.beta}")
        require(
            self.epochs == self.batches_per_rollout == 1,
            "reinforce does not correct for updates since the rollout was sampled: epochs and "
            f"batches_per_rollout must be 1, got {self.epochs} and {self.batches_per_rollout}",
        )


@plugin(
    ReinforceConfig,
    reads={Prompt},
    needs={Capability.GENERATE},
    lr=1e-6,
    data="arithmetic",
    reward="exact_answer",
    multi_turn=True,
)
class Reinforce(OnPolicyObjective[ReinforceConfig, CompletionBatch]):
    """Maximises the mean over completions of (reward - baseline) log p."""

    unit = "completions"
    sample_type = Completion

    def __init__(self, config: ReinforceConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        self.reference = reference_of(network) if config.beta > 0 else None
        self.means: list[float] = []
        """The mean reward of every rollout so far."""

    def rollout(
        self, prompts: Sequence[Prompt], keys: Sequence[tuple[int, ...]]
    ) -> list[Completion]:
        completions = self.sample_completions(prompts, keys, self.reference)
        rewards = penalised_rewards(completions, len(prompts), self.config.beta)
        mean = float(torch.cat(all_gather(rewards)).nanmean())
        if not math.isnan(mean):
            self.means.append(mean)
        return [
            replace(completion, advantage=reward - self._baseline())
            for completion, reward in zip(completions, rewards.flatten().tolist(), strict=True)
        ]

    def _baseline(self) -> float:
        if self.config.baseline is Baseline.none or not self.means:
            return 0.0
        means = self.means if self.config.baseline is Baseline.running else self.means[-1:]
        return math.fsum(means) / len(means)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["means"] = self.means

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.means = checkpoint["means"]

    def collate(self, examples: Sequence[Completion]) -> CompletionBatch:
        return completion_batch(examples, self.network)

    def count(self, batch: CompletionBatch) -> float:
        return float(batch.is_in_loss.sum())

    def loss(self, batch: CompletionBatch) -> Loss:
        logits, log_prob, log_ratio = self.recompute_log_probs(batch)
        gain = batch.advantage.nan_to_num() * sum_rows(log_prob, batch.targets.where)
        tokens = {"ratio": log_ratio.exp(), "entropy": entropy_of(logits.detach())}
        metrics = metric_sums(batch, tokens) | {"kl": batch.kl.sum()}
        return Loss(-gain[batch.is_in_loss].sum(), metrics)
