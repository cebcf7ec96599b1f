"""Group relative policy optimisation: sample several answers, reinforce those above their group.

Shao et al. 2024 (DeepSeekMath), https://arxiv.org/abs/2402.03300, section 4.1.1, equation 3. Later
papers are presets: dr_grpo, dapo, gspo, cispo (here bounded above alone). `delta` is that of
INTELLECT-2, https://arxiv.org/abs/2505.07291, section 3.4.
Where implementations differ: deviations are Bessel-corrected and 1e-4 is added (TRL). The k3
estimate of the divergence is differentiated through, and averaged as the rest is. Completions that
are masked or have no verdict are left out of the count, too; TRL counts them as zeros.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import torch
from jaxtyping import Float
from torch import Tensor

from etude import Capability, Prompt, only_with, plugin, require
from etude.network import Network
from etude.objective import (
    Loss,
    ObjectiveContext,
    entropy_of,
    gathered,
    reference_of,
    row_means,
    sum_rows,
    token_log_prob,
)
from etude.rl import (
    Completion,
    CompletionBatch,
    OnPolicyConfig,
    OnPolicyObjective,
    completion_batch,
    metric_sums,
    rewards_of,
)

from ._policy_gradient import clip_counts, clipped_objective, group_advantages, k3, nan_std


class Scale(Enum):
    """Whose standard deviation advantages are divided by."""

    group = "group"
    batch = "batch"
    none = "none"


class Average(Enum):
    """What the sum over the tokens of a window is divided by."""

    sequence = "sequence"
    token = "token"
    constant = "constant"


class Ratio(Enum):
    """What a probability ratio is of."""

    token = "token"
    sequence = "sequence"


class Surrogate(Enum):
    """What is climbed in place of the reward."""

    clip = "clip"
    cispo = "cispo"


class Truncated(Enum):
    """What becomes of completions that max_new_tokens cuts."""

    keep = "keep"
    mask = "mask"


@dataclass
class GrpoConfig(OnPolicyConfig):
    beta: float = 0.04
    """Weight of the KL divergence from the start; 0 = no reference network."""
    epsilon: float = only_with("surrogate=clip or epsilon_high=null", 0.2)
    """The probability ratio is clipped to at least 1 - epsilon: 0.2; of sequences, 3e-4."""
    epsilon_high: float | None = None
    """And to at most 1 + this: 0.2 to 0.28; of sequences, 4e-4; in cispo, 4; null = epsilon."""
    delta: float | None = only_with("surrogate=clip", None)
    """The largest ratio, where a token is bad and the clip does not bind: 4; null = any."""
    ratio: Ratio = Ratio.token
    """Ratios are token by token, or one a sequence: the geometric mean of its tokens'."""
    surrogate: Surrogate = Surrogate.clip
    """clip stops at the bounds; cispo weighs log p by the ratio, up to its upper bound."""
    scale: Scale = Scale.group
    """Advantages are over the deviation of rewards in their group, in the whole draw, or none."""
    average: Average = Average.sequence
    """Over tokens of each completion, then completions; over all tokens of a window; or their sum,
    divided by a constant, max_new_tokens a completion."""
    truncated: Truncated = Truncated.keep
    """Whether completions that max_new_tokens cut are learned from, or masked."""
    max_draws: int = 1
    """How often a rollout's number of prompts may be drawn until in all groups rewards differ;
    1 = prompts are taken as they come. DAPO's dynamic sampling: 10."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.beta >= 0, f"beta must be 0 or more, got {self.beta}")
        require(0 < self.epsilon < 1, f"epsilon must be in (0, 1), got {self.epsilon}")
        require(self.upper > 0, f"epsilon_high must be positive, got {self.upper}")
        require(self.group_size >= 2, f"group_size must be at least 2, got {self.group_size}")
        require(self.max_draws >= 1, f"max_draws must be at least 1, got {self.max_draws}")
        require(
            self.delta is None or self.delta > 1 + self.upper,
            f"delta must be above 1 + epsilon_high={self.upper}, got {self.delta}",
        )

    @property
    def lower(self) -> float:
        """How far below 1 a ratio may be; 1 = cispo's, any."""
        return self.epsilon if self.surrogate is Surrogate.clip else 1.0

    @property
    def upper(self) -> float:
        """How far above 1."""
        return self.epsilon if self.epsilon_high is None else self.epsilon_high


def gains(
    log_prob: Float[Tensor, " n"],
    log_ratio: Float[Tensor, " n"],
    advantage: Float[Tensor, " n"],
    config: GrpoConfig,
) -> Float[Tensor, " n"]:
    """What is climbed at each token, the divergence aside."""
    if config.surrogate is Surrogate.cispo:
        return log_ratio.detach().exp().clamp(max=1 + config.upper) * advantage * log_prob
    if config.delta is not None:
        log_ratio = log_ratio.clamp(max=math.log(config.delta))
    return clipped_objective(log_ratio, advantage, config.lower, config.upper)


@plugin(
    GrpoConfig,
    reads={Prompt},
    needs={Capability.GENERATE},
    lr=1e-6,
    data="arithmetic",
    reward="exact_answer",
)
class Grpo(OnPolicyObjective[GrpoConfig, CompletionBatch]):
    """Climbs the surrogate, less the divergence, on groups of completions."""

    sample_type = Completion

    def __init__(self, config: GrpoConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        self.reference = reference_of(network) if config.beta > 0 else None
        self.max_draws = config.max_draws

    def rollout(
        self, prompts: Sequence[Prompt], keys: Sequence[tuple[int, ...]]
    ) -> list[Completion]:
        tried = self.attempts(prompts, keys)
        rewards = rewards_of(tried, len(prompts))
        scale = self.config.scale
        pooled = torch.cat(gathered(rewards)).view(1, -1) if scale is Scale.batch else rewards
        deviation = None if scale is Scale.none else nan_std(pooled)
        advantages = group_advantages(rewards, deviation).flatten().tolist()
        found = [replace(a, advantage=b) for a, b in zip(tried, advantages, strict=True)]
        if self.config.truncated is Truncated.mask:
            found = [a if a.is_finished else replace(a, advantage=math.nan) for a in found]
        return found

    def teaches(self, group: Sequence[Completion]) -> bool:
        return not group[0].has_zero_variance

    def collate(self, examples: Sequence[Completion]) -> CompletionBatch:
        return completion_batch(examples, self.network)

    def count(self, batch: CompletionBatch) -> float:
        n = batch.is_learned.sum()
        counts = {Average.sequence: n, Average.token: batch.lengths[batch.is_learned].sum()}
        return float(counts.get(self.config.average, n * self.config.max_new_tokens))

    def loss(self, batch: CompletionBatch) -> Loss:
        config = self.config
        logits, log_prob, log_ratio = self.recompute_log_probs(batch)
        if config.ratio is Ratio.sequence:
            log_ratio = row_means(log_ratio, batch.targets.where).repeat_interleave(batch.lengths)
        advantage = batch.advantage.nan_to_num().repeat_interleave(batch.lengths)
        gain = gains(log_prob, log_ratio, advantage, config)
        tokens = clip_counts(log_ratio, advantage, config.lower, config.upper)
        tokens |= {"ratio": log_ratio.exp(), "entropy": entropy_of(logits.detach())}
        if self.reference is not None:
            reference = token_log_prob(self.reference, batch.targets, config.temperature)
            tokens["kl"] = k3(log_prob, reference)
            gain = gain - config.beta * tokens["kl"]
        over_tokens = row_means if config.average is Average.sequence else sum_rows
        rows = over_tokens(gain, batch.targets.where)
        return Loss(-rows[batch.is_learned].sum(), metric_sums(batch, tokens))
