"""The rewards of an experiment: several, by name, and their weighted sum."""

import math
from collections.abc import Mapping, Sequence

from etude.config.registry import build
from etude.config.schema.plugins import RewardConfig
from etude.objective.reward import Reward
from etude.rl.verifier import Verifier, refuse_failing


class WeightedRewards:
    """The sum of several rewards, each times its weight.

    One that has no verdict adds nothing, so that each kind of prompt can have a verifier of its
    own; where none has a verdict, the sum has none.
    """

    def __init__(self, parts: Mapping[str, tuple[float, Reward]]) -> None:
        self.parts = parts

    def by_name(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> dict[str, Sequence[float]]:
        """What each reward says, before it is weighted."""
        return {
            name: reward(prompts, completions, references)
            for name, (_, reward) in self.parts.items()
        }

    def total(self, scores: Mapping[str, Sequence[float]]) -> list[float]:
        """The weighted sum of what `by_name` found."""
        weights = [self.parts[name][0] for name in scores]
        return [_sum(weights, row) for row in zip(*scores.values(), strict=True)]

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> list[float]:
        return self.total(self.by_name(prompts, completions, references))


def _sum(weights: Sequence[float], scores: Sequence[float]) -> float:
    known = [w * s for w, s in zip(weights, scores, strict=True) if not math.isnan(s)]
    return sum(known) if known else math.nan


def rewards_of(configs: Mapping[str, RewardConfig]) -> WeightedRewards | None:
    """Builds the rewards chosen, if any are. Raises ConfigError for one that fails its bench."""
    parts = {name: (config.weight, build(config)) for name, config in configs.items()}
    for _, reward in parts.values():
        if isinstance(reward, Verifier):
            refuse_failing(reward)
    return WeightedRewards(parts) if parts else None
