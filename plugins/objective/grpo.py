"""Group relative policy optimisation: sample several answers, reinforce those above their group.

Shao et al. 2024 (DeepSeekMath), https://arxiv.org/abs/2402.03300, section 4.1.1, equation 3.
Choices where implementations differ: the standard deviation of a group is Bessel-corrected and
1e-4 is added (TRL); as in the paper, tokens are averaged within each completion, then completions.
The KL term is the k3 estimator, differentiated through; beta = 0 holds no reference network.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from etude import plugin
from etude.batches import Ids
from etude.capability import Capability
from etude.functional import reference_of, sum_rows, token_log_prob
from etude.inputs import Targets
from etude.loss import Loss
from etude.network import Network
from etude.objective import Tools
from etude.on_policy import OnPolicyConfig, OnPolicyObjective
from etude.policy_gradient import clipped_objective, k3
from etude.records import Prompt
from etude.schema import require
from etude.window import rng


@dataclass
class GrpoConfig(OnPolicyConfig):
    beta: float = 0.04
    """Weight of the KL divergence from the start; 0 = no reference network."""
    epsilon: float = 0.2
    """The probability ratio is clipped to [1 - epsilon, 1 + epsilon]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.beta >= 0, f"beta must be 0 or more, got {self.beta}")
        require(0 < self.epsilon < 1, f"epsilon must be in (0, 1), got {self.epsilon}")
        require(self.group_size >= 2, f"group_size must be at least 2, got {self.group_size}")


@dataclass
class GrpoSample:
    """One completion, as the policy wrote it."""

    prompt: Ids
    completion: Ids
    old_log_prob: Float[np.ndarray, " tokens"]
    advantage: float
    reward: float


@dataclass
class GrpoBatch:
    """Completions, with what their tokens were worth and how likely they were."""

    targets: Targets
    old_log_prob: Float[Tensor, " n"]
    advantage: Float[Tensor, " batch"]
    reward: Float[Tensor, " batch"]


def group_advantages(rewards: Float[Tensor, "prompt group"]) -> Float[Tensor, "prompt group"]:
    """(reward - mean of its group) / (standard deviation of its group + 1e-4)."""
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    return centred / (rewards.std(dim=1, keepdim=True) + 1e-4)


@plugin(
    GrpoConfig,
    reads={Prompt},
    needs={Capability.GENERATE},
    lr=1e-6,
    data="arithmetic",
    reward="exact_answer",
)
class Grpo(OnPolicyObjective[GrpoConfig, GrpoBatch]):
    """A mean over completions of the mean over their tokens."""

    sample_type = GrpoSample

    def __init__(self, config: GrpoConfig, network: Network, tools: Tools) -> None:
        super().__init__(config, network, tools)
        self.reference = reference_of(network) if config.beta > 0 else None

    def rollout(
        self, prompts: Sequence[Prompt], keys: Sequence[tuple[int, ...]]
    ) -> list[GrpoSample]:
        """Samples, scores and remembers how likely each token was."""
        group = self.config.group_size
        repeated = [prompt for prompt in prompts for _ in range(group)]
        rngs = [rng(*key, i) for key in keys for i in range(group)]
        before, written = self.complete(repeated, rngs)
        rewards = self.score(repeated, written)
        advantages = group_advantages(rewards.unflatten(0, (-1, group))).flatten().tolist()
        old = self.log_probs(list(zip(before, written, strict=True)))
        return [
            GrpoSample(*fields)
            for fields in zip(before, written, old, advantages, rewards.tolist(), strict=True)
        ]

    def collate(self, examples: Sequence[GrpoSample]) -> GrpoBatch:
        return GrpoBatch(
            targets=self.network.answer([(e.prompt, e.completion) for e in examples]),
            old_log_prob=torch.from_numpy(np.concatenate([e.old_log_prob for e in examples])),
            advantage=torch.tensor([e.advantage for e in examples]),
            reward=torch.tensor([e.reward for e in examples]),
        )

    def count(self, batch: GrpoBatch) -> float:
        return float(len(batch.reward))

    def loss(self, batch: GrpoBatch) -> Loss:
        where, temperature = batch.targets.where, self.config.temperature
        log_prob = token_log_prob(self.network, batch.targets, temperature)
        log_ratio = log_prob - batch.old_log_prob
        lengths = where.sum(dim=1)
        advantage = batch.advantage.repeat_interleave(lengths)
        gain = clipped_objective(log_ratio, advantage, self.config.epsilon, self.config.epsilon)
        metrics = {
            "reward": batch.reward.sum(),
            "length": lengths.sum(),
            "entropy": -(sum_rows(log_prob.detach(), where) / lengths).sum(),
            "ratio": (sum_rows(log_ratio.detach().exp(), where) / lengths).sum(),
        }
        if self.reference is not None:
            divergence = k3(log_prob, token_log_prob(self.reference, batch.targets, temperature))
            gain = gain - self.config.beta * divergence
            metrics["kl"] = sum_rows(divergence.detach(), where).sum()
        return Loss(-(sum_rows(gain, where) / lengths).sum(), metrics)
