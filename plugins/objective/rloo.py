"""REINFORCE leave-one-out: the other completions of a prompt are the baseline of each one.

Kool et al. 2019, https://openreview.net/forum?id=r1lgTGL5DE; for language models Ahmadian et al.
2024, https://arxiv.org/abs/2402.14740, section 2.2. A completion is one action: its probability is
that of all its tokens, and beta times its divergence from the initial policy (the k1 estimate at
sampling time) is subtracted from its reward. Deviation: as in TRL, the ratio to the sampling policy
is clipped as in PPO; `epsilon=null` is the paper's plain gradient. Completions without a verdict,
or whose siblings have none, are excluded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from etude import Capability, Prompt, plugin, require
from etude.config import OnPolicyConfig
from etude.network import Network
from etude.objective import Loss, ObjectiveContext, entropy_of, reference_of, sum_rows
from etude.rl import (
    Completion,
    CompletionBatch,
    OnPolicyObjective,
    completion_batch,
    metric_sums,
    penalised_rewards,
)

from ._policy_gradient import clip_counts, clipped_objective


@dataclass
class RlooConfig(OnPolicyConfig):
    beta: float = 0.05
    """KL penalty coefficient, subtracted from the reward; 0 disables the reference network.
    Typical: 0.03-0.1."""
    epsilon: float | None = 0.2
    """Clips a completion's probability ratio to [1 - epsilon, 1 + epsilon]; null = no ratio,
    only for rollouts used in a single step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.beta >= 0, f"beta must be 0 or more, got {self.beta}")
        require(self.group_size >= 2, f"group_size must be at least 2, got {self.group_size}")
        require(
            self.epsilon is None or 0 < self.epsilon < 1,
            f"epsilon must be in (0, 1) or null, got {self.epsilon}",
        )
        require(
            self.epsilon is not None or self.epochs == self.batches_per_rollout == 1,
            "epsilon=null does not correct for updates since the rollout was sampled: epochs and "
            f"batches_per_rollout must be 1, got {self.epochs} and {self.batches_per_rollout}",
        )


def leave_one_out(rewards: Float[Tensor, "prompt group"]) -> Float[Tensor, "prompt group"]:
    """Each reward minus the mean of the others in its group; NaN where either is missing."""
    others = (~rewards.isnan()).sum(dim=1, keepdim=True) - 1
    return rewards - (rewards.nansum(dim=1, keepdim=True) - rewards) / others


@plugin(
    RlooConfig,
    reads={Prompt},
    needs={Capability.GENERATE},
    lr=1e-6,
    data="arithmetic",
    reward="exact_answer",
    multi_turn=True,
)
class Rloo(OnPolicyObjective[RlooConfig, CompletionBatch]):
    """REINFORCE with a leave-one-out baseline; the loss is a mean over completions."""

    unit = "completions"
    sample_type = Completion

    def __init__(self, config: RlooConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        self.reference = reference_of(network) if config.beta > 0 else None

    def rollout(
        self, prompts: Sequence[Prompt], keys: Sequence[tuple[int, ...]]
    ) -> list[Completion]:
        completions = self.sample_completions(prompts, keys, self.reference)
        rewards = penalised_rewards(completions, len(prompts), self.config.beta)
        rows = zip(completions, leave_one_out(rewards).flatten().tolist(), strict=True)
        return [replace(completion, advantage=advantage) for completion, advantage in rows]

    def collate(self, examples: Sequence[Completion]) -> CompletionBatch:
        return completion_batch(examples, self.network)

    def count(self, batch: CompletionBatch) -> float:
        return float(batch.is_in_loss.sum())

    def loss(self, batch: CompletionBatch) -> Loss:
        where = batch.targets.where
        epsilon = self.config.epsilon
        logits, log_prob, log_ratio = self.recompute_log_probs(batch)
        tokens = {"ratio": log_ratio.exp(), "entropy": entropy_of(logits.detach())}
        advantage = batch.advantage.nan_to_num()
        sequence_log_ratio = sum_rows(log_ratio, where)
        if epsilon is None:
            gain = advantage * sum_rows(log_prob, where)
        else:
            gain = clipped_objective(sequence_log_ratio, advantage, epsilon, epsilon)
            clips = clip_counts(sequence_log_ratio, advantage, epsilon, epsilon)
            tokens |= {k: v.repeat_interleave(batch.lengths) for k, v in clips.items()}
        metrics = metric_sums(batch, tokens) | {"kl": batch.kl.sum()}
        return Loss(-gain[batch.is_in_loss].sum(), metrics)
