"""The named rewards of an experiment and their weighted sum."""

import math
from collections.abc import Mapping, Sequence

from etude.config.registry import build
from etude.config.schema.plugins import RewardConfig
from etude.objective.reward import ChatReward, Reward, scores_of
from etude.records import Chat
from etude.rl.verifier import Verifier, check_bench


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


def build_rewards(configs: Mapping[str, RewardConfig]) -> WeightedRewards | None:
    """Builds the configured rewards, if any. Raises ConfigError for one that fails its bench."""
    parts = {name: (config.weight, build(config)) for name, config in configs.items()}
    for _, reward in parts.values():
        if isinstance(reward, Verifier):
            check_bench(reward)
    return WeightedRewards(parts) if parts else None
