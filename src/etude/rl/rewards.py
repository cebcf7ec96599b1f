"""The named rewards of an experiment and their weighted sum."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from etude.config.registry import build, plugin_of
from etude.config.schema.plugins import RewardConfig
from etude.objective.objective import ObjectiveContext
from etude.objective.reward import ChatReward, Reward, scores_of
from etude.records import Chat, Prompt
from etude.rl.episode import Episode
from etude.rl.verifier import Verifier, check_bench

Scores: TypeAlias = dict[str, Float[Tensor, " batch"]]
"""Scores of each of several rewards, by name."""
ENVIRONMENT = "environment"
"""Name of the environment's own reward among them."""


class WeightedRewards(ChatReward):
    """The weighted sum of several rewards.

    A reward without a verdict adds nothing, so that each kind of prompt can have its own verifier;
    if none has a verdict, the sum is NaN.
    """

    def __init__(self, parts: Mapping[str, tuple[float, Reward]]) -> None:
        self.parts = parts

    def by_name(
        self,
        prompts: Sequence[str | Chat],
        completions: Sequence[str],
        references: Sequence[str | None],
    ) -> dict[str, Sequence[float]]:
        """Returns the unweighted scores of each reward."""
        return {
            name: scores_of(reward, prompts, completions, references)
            for name, (_, reward) in self.parts.items()
        }

    def total(self, scores: Mapping[str, Sequence[float]]) -> list[float]:
        """Returns the weighted sums of the scores of `by_name`."""
        weights = [self.parts[name][0] for name in scores]
        return [_sum(weights, row) for row in zip(*scores.values(), strict=True)]

    def __call__(
        self,
        prompts: Sequence[str | Chat],
        completions: Sequence[str],
        references: Sequence[str | None],
    ) -> list[float]:
        return self.total(self.by_name(prompts, completions, references))


def _sum(weights: Sequence[float], scores: Sequence[float]) -> float:
    scored = [w * s for w, s in zip(weights, scores, strict=True) if not math.isnan(s)]
    return sum(scored) if scored else math.nan


def score_episodes(
    tools: ObjectiveContext, prompts: Sequence[Prompt], episodes: Sequence[Episode]
) -> tuple[Float[Tensor, " batch"], Scores]:
    """Returns the reward of each episode and, if there are several, the scores by name.

    The rewards read the policy's last turn; an environment that scores adds its own. On the CPU
    and in float64, so that sums are exact.
    """
    environment = tools.environment
    if environment is not None:
        prompts = [environment.prompt(prompt) for prompt in prompts]
    texts = [tools.tokenizer.decode(episode.last_turn) for episode in episodes]
    arguments = [p.prompt for p in prompts], texts, [p.answer for p in prompts]
    total: Sequence[float] = [math.nan] * len(episodes)
    by_name: dict[str, Sequence[float]] = {}
    if isinstance(tools.reward, WeightedRewards):
        by_name = tools.reward.by_name(*arguments)
        total = tools.reward.total(by_name)
    elif tools.reward is not None:
        total = scores_of(tools.reward, *arguments)
    rewards = torch.tensor(total, dtype=torch.float64)
    if environment is not None and plugin_of(environment.config).declaration.scores:
        by_name[ENVIRONMENT] = [episode.reward for episode in episodes]
        rewards = rewards.nan_to_num() + torch.tensor(by_name[ENVIRONMENT], dtype=torch.float64)
    parts = {n: torch.tensor(scores, dtype=torch.float64) for n, scores in by_name.items()}
    return rewards, parts if len(parts) > 1 else {}


def reward_weights(tools: ObjectiveContext) -> dict[str, float]:
    """Returns the weight of each reward in the sum, by the names of `score_episodes`."""
    rewards = tools.reward.parts if isinstance(tools.reward, WeightedRewards) else {}
    return {name: weight for name, (weight, _) in rewards.items()} | {ENVIRONMENT: 1.0}


def build_rewards(configs: Mapping[str, RewardConfig]) -> WeightedRewards | None:
    """Builds the configured rewards, if any. Raises ConfigError for one that fails its bench."""
    parts = {name: (config.weight, build(config)) for name, config in configs.items()}
    for _, reward in parts.values():
        if isinstance(reward, Verifier):
            check_bench(reward)
    return WeightedRewards(parts) if parts else None
