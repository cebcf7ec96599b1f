"""REINFORCE with the mean of a group as baseline; completions below it weigh less.

Williams 1992, https://doi.org/10.1007/BF00992696. Deviation: `below`, which is 1 there.
(Replace this with your source and your deviations from it.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from etude import Capability, Prompt, plugin, require
from etude.config import OnPolicyConfig
from etude.objective import Loss, sum_rows
from etude.rl import Completion, CompletionBatch, OnPolicyObjective, completion_batch, metric_sums


@dataclass
class SketchConfig(OnPolicyConfig):
    below: float = 0.5
    """Weight of completions with a reward below their group's mean, from 0 to 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.below <= 1, f"below must be from 0 to 1, got {self.below}")
        require(
            self.epochs == self.batches_per_rollout == 1,
            "without a probability ratio, epochs and batches_per_rollout must be 1, got "
            f"{self.epochs} and {self.batches_per_rollout}",
        )


def sketch_advantage(
    rewards: Float[Tensor, "prompt group"], below: float
) -> Float[Tensor, "prompt group"]:
    """Returns each reward minus its group's mean, times `below` if negative; NaN = no verdict."""
    advantage = rewards - rewards.nanmean(dim=1, keepdim=True)
    return torch.where(advantage < 0, below * advantage, advantage)


@plugin(
    SketchConfig,
    reads={Prompt},
    needs={Capability.GENERATE},
    lr=1e-6,
    data="arithmetic",
    reward="exact_answer",
)
class Sketch(OnPolicyObjective[SketchConfig, CompletionBatch]):
    """Maximises the mean over completions of advantage * log p."""

    sample_type = Completion  # its fields are saved in checkpoints, with the rollout in progress

    def rollout(
        self, prompts: Sequence[Prompt], keys: Sequence[tuple[int, ...]]
    ) -> list[Completion]:
        completions = self.sample_completions(prompts, keys, None)
        rewards = torch.tensor([one.reward for one in completions]).view(len(prompts), -1)
        advantage = sketch_advantage(rewards, self.config.below).flatten().tolist()
        return [replace(one, advantage=a) for one, a in zip(completions, advantage, strict=True)]

    def collate(self, examples: Sequence[Completion]) -> CompletionBatch:
        return completion_batch(examples, self.network)

    def count(self, batch: CompletionBatch) -> float:
        return float(batch.is_in_loss.sum())

    def loss(self, batch: CompletionBatch) -> Loss:
        _, log_prob, log_ratio = self.recompute_log_probs(batch)
        gain = batch.advantage.nan_to_num() * sum_rows(log_prob, batch.targets.where)
        return Loss(-gain[batch.is_in_loss].sum(), metric_sums(batch, {"ratio": log_ratio.exp()}))
