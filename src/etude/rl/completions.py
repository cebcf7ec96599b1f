"""Completions of a policy, with their log-probabilities, rewards and advantages.

A NaN reward means no verdict: its completion is excluded from means, deviations and losses.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from etude.network.inputs import Targets
from etude.network.network import Network
from etude.objective.batches import Ids
from etude.objective.log_probs import token_log_prob
from etude.rl.episode import Span, targets_of


@dataclass
class Completion:
    """One completion sampled from the policy, and its reward."""

    prompt: Ids
    completion: Ids
    log_prob: Float[np.ndarray, " tokens"]
    """Of each token that the policy wrote, in nats, at sampling time."""
    reward: float
    is_finished: bool
    """Whether it ends with a stop; otherwise it was truncated at max_new_tokens."""
    has_zero_variance: bool
    """Whether all completions of its prompt have the same reward."""
    kl: float
    """log p - log p_ref of its own tokens, in nats, at sampling time; 0 without a reference."""
    advantage: float = math.nan
    """NaN = excluded from the loss."""
    parts: dict[str, float] = field(default_factory=dict[str, float])
    """Score of each reward, by name, if there are several."""
    replies: list[Span] = field(default_factory=list[Span])
    """Spans [start, end) of the completion that an environment wrote."""


@dataclass
class CompletionBatch:
    """Completions, row by row; `log_prob` has one entry per token that the policy wrote."""

    targets: Targets
    log_prob: Float[Tensor, " n"]
    reward: Float[Tensor, " batch"]
    advantage: Float[Tensor, " batch"]
    is_finished: Bool[Tensor, " batch"]
    has_zero_variance: Bool[Tensor, " batch"]
    kl: Float[Tensor, " batch"]
    parts: dict[str, Float[Tensor, " batch"]] = field(default_factory=dict[str, Tensor])

    @property
    def is_in_loss(self) -> Bool[Tensor, " batch"]:
        """The rows that the loss includes."""
        return ~self.advantage.isnan()

    @property
    def lengths(self) -> Int[Tensor, " batch"]:
        """Tokens of each completion that the policy wrote."""
        return self.targets.where.sum(dim=1)

    def token_values(
        self, reference: nn.Module | None, temperature: float
    ) -> dict[str, Float[Tensor, " n"]]:
        """Returns the advantage and, with a reference, log p - log p_ref of each token."""
        values = {"advantage": self.advantage.repeat_interleave(self.lengths)}
        if reference is not None:
            values["kl"] = self.log_prob - token_log_prob(reference, self.targets, temperature)
        return values


def completion_batch(completions: Sequence[Completion], network: Network) -> CompletionBatch:
    """Collates completions in the network's format, in the dtype of their log-probabilities."""
    log_prob = torch.from_numpy(np.concatenate([c.log_prob for c in completions]))
    numbers = partial(torch.tensor, dtype=log_prob.dtype)
    return CompletionBatch(
        targets=targets_of(completions, network),
        log_prob=log_prob,
        reward=numbers([c.reward for c in completions]),
        advantage=numbers([c.advantage for c in completions]),
        is_finished=torch.tensor([c.is_finished for c in completions]),
        has_zero_variance=torch.tensor([c.has_zero_variance for c in completions]),
        kl=numbers([c.kl for c in completions]),
        parts={n: numbers([c.parts[n] for c in completions]) for n in completions[0].parts},
    )


def metric_sums(
    batch: CompletionBatch, tokens: Mapping[str, Float[Tensor, " n"]]
) -> dict[str, Float[Tensor, ""]]:
    """Metric sums over completions and their tokens; `metric_means` normalises them."""
    known = ~batch.reward.isnan()
    reward = batch.reward.nan_to_num()
    sums = {name: values.detach().sum() for name, values in tokens.items()}
    sums |= part_sums(batch.parts)
    return sums | {
        "reward": reward.sum(),
        "reward_squares": reward.square().sum(),
        "known": known.to(reward).sum(),
        "n_completions": torch.ones_like(reward).sum(),
        "n_tokens": batch.lengths.to(reward).sum(),
        "response_length": batch.lengths.to(reward).sum(),
        "truncated": (~batch.is_finished).to(reward).sum(),
        "zero_variance": batch.has_zero_variance.to(reward).sum(),
        "excluded": (~batch.is_in_loss).to(reward).sum(),
    }


def part_sums(parts: Mapping[str, Float[Tensor, " batch"]]) -> dict[str, Float[Tensor, ""]]:
    """Sums of each reward's scores and of its verdicts, for `metric_means`."""
    sums: dict[str, Float[Tensor, ""]] = {}
    for name, scores in parts.items():
        sums[f"{PART}{name}"] = scores.nansum()
        sums[f"{VERDICTS}{name}"] = (~scores.isnan()).to(scores).sum()
    return sums


PART = "reward/"
VERDICTS = "verdicts/"
PER_COMPLETION = ("response_length", "truncated", "zero_variance", "excluded", "sequence_kl")
PER_TOKEN = ("entropy", "kl", "ratio", "clip_fraction_low", "clip_fraction_high")


def metric_means(means: Mapping[str, float]) -> dict[str, float]:
    """Normalises `metric_sums`, independently of what the loss counts.

    Rewards are divided by verdicts, shares by completions, token metrics by tokens; the rest, such
    as the loss, already is a mean. A mean over nothing is NaN.
    """
    sums = dict(means)
    divisors = {PART + k.removeprefix(VERDICTS): sums.pop(k) for k in means if VERDICTS in k}
    if "n_completions" in means:
        n, tokens, known = (sums.pop(k) for k in ("n_completions", "n_tokens", "known"))
        divisors |= dict.fromkeys(PER_COMPLETION, n) | dict.fromkeys(PER_TOKEN, tokens)
        divisors |= {"reward": known, "reward_squares": known}
    rest = 0.0 if math.isnan(means.get("loss", 0.0)) else 1.0
    over = {name: divisors.get(name, rest) for name in sums}
    metrics = {k: value / over[k] if over[k] else math.nan for k, value in sums.items()}
    if "reward_squares" in metrics:
        variance = metrics.pop("reward_squares") - metrics["reward"] ** 2
        metrics["reward_std"] = max(variance, 0.0) ** 0.5
    return metrics


def zero_variance(rewards: Float[Tensor, "rows n"]) -> Bool[Tensor, " rows"]:
    """Whether all non-NaN rewards of a row are equal, so that it has no learning signal."""
    infinite = float("inf")
    return rewards.nan_to_num(-infinite).amax(1) <= rewards.nan_to_num(infinite).amin(1)


def penalised_rewards(
    completions: Sequence[Completion], n_prompts: int, beta: float = 0.0
) -> Float[Tensor, "prompt group"]:
    """Returns the rewards minus `beta` times the KL divergence, prompt by prompt, in float64."""
    rewards = torch.tensor([c.reward - beta * c.kl for c in completions], dtype=torch.float64)
    return rewards.unflatten(0, (n_prompts, -1))
