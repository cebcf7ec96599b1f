"""Proximal policy optimisation: reinforces tokens that beat the value function's estimate.

Schulman et al. 2017, https://arxiv.org/abs/1707.06347, equation 9; its c1 and c2 are value_weight
and entropy_weight. For language models: Ziegler et al. 2019, https://arxiv.org/abs/1909.08593,
section 2 (token rewards: see _ppo/reward_shaping.py).
Where implementations differ: advantages are whitened over the tokens of the whole rollout and all
ranks, with the population variance; returns are computed before whitening. The value after the last
token is 0, even if max_new_tokens truncated the completion. Both losses are means over the tokens
of a mini-batch, which is one step. Completions without a verdict are not counted. beta is updated
once per rollout from its divergence, and the next rollout uses the new value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from etude import Capability, Prompt, plugin, require
from etude.network import Network, Targets, to_fp32
from etude.objective import Loss, ObjectiveContext, entropy_of, log_prob_of, reference_of
from etude.rl import (
    OnPolicyObjective,
    completion_batch,
    metric_means,
    metric_sums,
    random_state,
)

from ._policy_gradient import clip_counts, clipped_objective
from ._ppo.advantages import estimated_advantages, pad_rows, whiten
from ._ppo.experience import Experience, ExperienceBatch, experience
from ._ppo.reward_shaping import Shaping, ShapingConfig
from ._ppo.value_function import (
    ValueKind,
    value_losses,
    value_of,
    variance_terms,
    with_explained_variance,
)


@dataclass
class PpoConfig(ShapingConfig):
    group_size: int = 1
    """Completions sampled for each prompt."""
    epochs: int = 4
    """Passes over each rollout."""
    epsilon: float = 0.2
    """The probability ratio is clipped to [1 - epsilon, 1 + epsilon]."""
    entropy_weight: float = 0.0
    """Weight of the entropy bonus, in nats per token. Typical: 0-0.01."""
    value: ValueKind = ValueKind.head
    """head = computed from the policy's states; network = a separate network, which starts from
    the reward model if there is one, otherwise from the policy."""
    value_weight: float = 0.1
    """Weight of the value loss. Typical: 0.1-1."""
    value_epsilon: float | None = 0.2
    """Clips the change of a value relative to the rollout's; null = no clipping."""
    value_warmup_steps: int = 0
    """Initial steps that train only the value function, with the policy frozen."""
    gamma: float = 1.0
    """Discount factor per token, in [0, 1]."""
    gae_lambda: float = 0.95
    """GAE lambda, in [0, 1]: 0 relies on the value function, 1 on the rewards."""

    @property
    def idle(self) -> Mapping[str, int]:
        return {"value_warmup_steps": self.value_warmup_steps}

    def __post_init__(self) -> None:
        super().__post_init__()
        values = vars(self)
        require(self.value_weight > 0, f"value_weight must be positive, got {self.value_weight}")
        clip = self.value_epsilon
        require(clip is None or clip > 0, f"value_epsilon must be positive or null, got {clip}")
        for name in ("value_warmup_steps", "entropy_weight"):
            require(values[name] >= 0, f"{name} must be 0 or more, got {values[name]}")
        for name in ("gamma", "gae_lambda"):
            require(0 <= values[name] <= 1, f"{name} must be in [0, 1], got {values[name]}")
        require(0 < self.epsilon < 1, f"epsilon must be in (0, 1), got {self.epsilon}")


@plugin(
    PpoConfig,
    reads={Prompt},
    needs={Capability.GENERATE, Capability.HIDDEN},
    lr=3e-6,
    data="arithmetic",
    reward="exact_answer",
    multi_turn=True,
)
class Ppo(OnPolicyObjective[PpoConfig, ExperienceBatch]):
    """Trains policy and value function jointly on the same mini-batches."""

    sample_type = Experience

    def __init__(self, config: PpoConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        self.reference = reference_of(network) if config.beta > 0 else None
        self.value = value_of(config.value, network, tools)
        self.notes.append(self.value.note)
        self.shaping = Shaping(config)

    def rollout(
        self, prompts: Sequence[Prompt], keys: Sequence[tuple[int, ...]]
    ) -> list[Experience]:
        config = self.config
        shaping = self.shaping
        over_ranks = self.over_ranks
        completions = self.sample_completions(prompts, keys)
        beta = shaping.beta
        value = pad_rows(self.per_token(completions, lambda due: self.value(due, self.states(due))))
        divergence = torch.zeros_like(value)
        if self.reference is not None:
            reference = pad_rows(self.log_probs(completions, self.reference))
            log_prob = pad_rows([c.log_prob for c in completions])
            divergence = shaping.divergences(log_prob, reference)
        score = shaping.scores(completions, over_ranks)
        lengths = torch.tensor([len(c.log_prob) for c in completions]).where(~score.isnan(), 0)
        mask = torch.arange(value.shape[1]) < lengths[:, None]
        reward = shaping.rewards(divergence, score, mask, over_ranks)
        advantage, returns = estimated_advantages(
            reward, value, mask, config.gamma, config.gae_lambda
        )
        kl = divergence.sum(dim=1)
        shaping.adapt(kl[~score.isnan()], over_ranks)
        parts = [value, whiten(advantage, mask, over_ranks), returns]
        estimates = torch.stack(parts, dim=-1).numpy()
        rows = zip(completions, estimates, score.tolist(), kl.tolist(), strict=True)
        return [experience(*row, beta) for row in rows]

    def states(self, targets: Targets) -> Float[Tensor, "n dim"]:
        """The policy's hidden states before the target tokens."""
        return self.network.states(targets.inputs)[targets.where]

    def collate(self, examples: Sequence[Experience]) -> ExperienceBatch:
        batch = completion_batch(examples, self.network)
        in_loss = batch.is_in_loss.repeat_interleave(batch.lengths)
        targets = replace(batch.targets, where=batch.targets.where & batch.is_in_loss[:, None])
        return ExperienceBatch(
            **vars(replace(batch, targets=targets, log_prob=batch.log_prob[in_loss])),
            estimates=torch.from_numpy(np.concatenate([e.estimates for e in examples]))[in_loss],
            beta=torch.tensor([e.beta for e in examples]),
            response_length=batch.lengths,
        )

    def count(self, batch: ExperienceBatch) -> float:
        return float(batch.targets.where.sum())

    def loss(self, batch: ExperienceBatch) -> Loss:
        config = self.config
        targets = batch.targets
        random_before = random_state(self.device)
        states = self.states(targets)
        logits = to_fp32(self.network.logits(states)) / config.temperature
        log_ratio = self.log_ratio(log_prob_of(logits, targets), batch, random_before)
        old_value, advantage, returns = batch.estimates.unbind(dim=1)
        gain = clipped_objective(log_ratio, advantage, config.epsilon, config.epsilon)
        value = self.value(targets, states)
        value_loss, is_clipped = value_losses(value, old_value, returns, config.value_epsilon)
        entropy = entropy_of(logits if config.entropy_weight else logits.detach())
        losses = config.value_weight * value_loss - gain - config.entropy_weight * entropy
        tokens = {
            "policy_loss": -gain,
            "value_loss": value_loss,
            "value_clip_fraction": is_clipped.to(value),
            "entropy": entropy,
            "ratio": log_ratio.exp(),
            "beta": batch.beta.repeat_interleave(batch.lengths),
            **clip_counts(log_ratio, advantage, config.epsilon, config.epsilon),
            **variance_terms(returns, value),
        }
        sums = {"sequence_kl": batch.kl.sum(), "response_length": batch.response_length.sum()}
        return Loss(losses.sum(), metric_sums(batch, tokens) | sums)

    def token_values(self, batch: ExperienceBatch) -> dict[str, Float[Tensor, " n"]]:
        return super().token_values(batch) | batch.values(self.config.gamma, self.config.gae_lambda)

    def report(self, means: Mapping[str, float]) -> dict[str, float]:
        return with_explained_variance(metric_means(means))

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Freezes the policy in value warm-up; without gradients, weights do not decay either."""
        if self.trainer.global_step < self.config.value_warmup_steps:
            for parameter in self.network.parameters():
                parameter.grad = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["shaping"] = self.shaping.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.shaping.load_state_dict(checkpoint["shaping"])
