"""Group relative policy optimisation: reinforces completions that score above their group.

Shao et al. 2024 (DeepSeekMath), https://arxiv.org/abs/2402.03300, section 4.1.1, equation 3. Later
papers are presets: dr_grpo, dapo, gspo, cispo (here only bounded above). `delta` is from
INTELLECT-2, https://arxiv.org/abs/2505.07291, section 3.4.
Where implementations differ: standard deviations are Bessel-corrected and 1e-4 is added (TRL).
Gradients flow through the k3 KL estimate, which is averaged like the rest. Completions that are
masked or have no verdict are not counted; TRL counts them as zeros.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import torch
from jaxtyping import Float
from torch import Tensor

from etude import Capability, Prompt, only_with, plugin, require
from etude.config import OnPolicyConfig
from etude.network import Network
from etude.objective import (
    Loss,
    ObjectiveContext,
    all_gather,
    entropy_of,
    reference_of,
    row_means,
    sum_rows,
    token_log_prob,
)
from etude.rl import (
    Completion,
    CompletionBatch,
    OnPolicyObjective,
    completion_batch,
    metric_sums,
    penalised_rewards,
)

from ._policy_gradient import clip_counts, clipped_objective, group_advantages, k3, nan_std


class Scale(Enum):
    """Which standard deviation divides the advantages."""

    group = "group"
    batch = "batch"
    none = "none"


class Average(Enum):
    """What normalises the sum over the tokens of a global batch."""

    sequence = "sequence"
    token = "token"
    constant = "constant"


class Ratio(Enum):
    """Whether probability ratios are per token or per sequence."""

    token = "token"
    sequence = "sequence"


class Surrogate(Enum):
    """The surrogate objective to maximise."""

    clip = "clip"
    cispo = "cispo"


class Truncated(Enum):
    """How completions truncated by max_new_tokens are treated."""

    keep = "keep"
    mask = "mask"


@dataclass
class GrpoConfig(OnPolicyConfig):
    beta: float = 0.04
    """KL penalty coefficient; 0 disables the reference network. Typical: 0.001-0.1."""
    epsilon: float = only_with("surrogate=clip or epsilon_high=null", 0.2)
    """Clips probability ratios below 1 - epsilon. Typical: 0.2; per sequence, 3e-4."""
    epsilon_high: float | None = None
    """Clips them above 1 + epsilon_high; null = epsilon. Typical: 0.2-0.28; gspo 4e-4; cispo 4."""
    delta: float | None = only_with("surrogate=clip", None)
    """Upper bound of the ratio if the advantage is negative; null = unbounded. Typical: 4."""
    ratio: Ratio = Ratio.token
    """token = one ratio per token; sequence = the geometric mean over a completion's tokens."""
    surrogate: Surrogate = Surrogate.clip
    """clip = PPO's clipped ratio; cispo = log p weighted by the detached ratio, bounded above."""
    scale: Scale = Scale.group
    """Divide advantages by the std of rewards in their group, in the batch, or not (none)."""
    average: Average = Average.sequence
    """sequence = mean over each completion, then over completions; token = mean over all tokens
    of the global batch; constant = their sum over max_new_tokens per completion."""
    truncated: Truncated = Truncated.keep
    """keep trains on completions truncated by max_new_tokens; mask excludes them."""
    max_draws: int = 1
    """Maximum draws per rollout until rewards differ in every group; 1 accepts all. DAPO: 10."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.beta >= 0, f"beta must be 0 or more, got {self.beta}")
        require(0 < self.epsilon < 1, f"epsilon must be in (0, 1), got {self.epsilon}")
        require(self.upper > 0, f"epsilon_high must be positive, got {self.upper}")
        require(self.group_size >= 2, f"group_size must be at least 2, got {self.group_size}")
        require(self.max_draws >= 1, f"max_draws must be at least 1, got {self.max_draws}")
        is_above = self.delta is None or self.delta > 1 + self.upper
        require(is_above, f"delta must be above 1 + epsilon_high={self.upper}, got {self.delta}")

    @property
    def lower(self) -> float:
        """How far the ratio may fall below 1; 1 = unbounded (cispo)."""
        return self.epsilon if self.surrogate is Surrogate.clip else 1.0

    @property
    def upper(self) -> float:
        """How far the ratio may rise above 1."""
        return self.epsilon if self.epsilon_high is None else self.epsilon_high


def gains(
    log_prob: Float[Tensor, " n"],
    log_ratio: Float[Tensor, " n"],
    advantage: Float[Tensor, " n"],
    config: GrpoConfig,
) -> Float[Tensor, " n"]:
    """Surrogate objective of each token, without the KL penalty."""
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
    multi_turn=True,
)
class Grpo(OnPolicyObjective[GrpoConfig, CompletionBatch]):
    """Maximises the surrogate minus the KL penalty on groups of completions."""

    sample_type = Completion

    def __init__(self, config: GrpoConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        self.reference = reference_of(network) if config.beta > 0 else None
        self.max_draws = config.max_draws
        self.unit = "completions" if config.average is Average.sequence else "tokens"

    def rollout(
        self, prompts: Sequence[Prompt], keys: Sequence[tuple[int, ...]]
    ) -> list[Completion]:
        completions = self.sample_completions(prompts, keys)
        rewards = penalised_rewards(completions, len(prompts))
        scale = self.config.scale
        pooled = torch.cat(all_gather(rewards)).view(1, -1) if scale is Scale.batch else rewards
        deviation = None if scale is Scale.none else nan_std(pooled)
        masks = self.config.truncated is Truncated.mask
        kept = torch.tensor([c.is_finished or not masks for c in completions])
        advantages = group_advantages(rewards, deviation).flatten().where(kept, math.nan).tolist()
        return [replace(c, advantage=a) for c, a in zip(completions, advantages, strict=True)]

    def has_signal(self, group: Sequence[Completion]) -> bool:
        return not group[0].has_zero_variance

    def collate(self, examples: Sequence[Completion]) -> CompletionBatch:
        return completion_batch(examples, self.network)

    def count(self, batch: CompletionBatch) -> float:
        n = batch.is_in_loss.sum()
        counts = {Average.sequence: n, Average.token: batch.lengths[batch.is_in_loss].sum()}
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
        return Loss(-rows[batch.is_in_loss].sum(), metric_sums(batch, tokens))
