"""The better answer is the one with the higher reward, as scored by `reward`.

A gold judge for experiments with known ground truth: `etude label judge=rule reward=numeric ...`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from etude import plugin, require
from etude.config import JudgeConfig
from etude.objective import Reward, scores_of
from etude.rl import Comparison


@dataclass
class RuleJudgeConfig(JudgeConfig):
    margin: float = 0.0
    """Largest difference in reward that counts as a tie."""

    def __post_init__(self) -> None:
        require(self.margin >= 0, f"margin must be 0 or more, got {self.margin}")

    @property
    def compares_scores(self) -> bool:
        return True


@plugin(RuleJudgeConfig, example={"reward": "numeric"})
class RuleJudge:
    """1, 0, or 0.5 for a tie; no verdict if a reward has none."""

    def __init__(self, config: RuleJudgeConfig, reward: Reward) -> None:
        self.config = config
        self.reward = reward

    def __call__(self, comparisons: Sequence[Comparison]) -> list[float]:
        first, second = (
            scores_of(
                self.reward,
                [c.prompt for c in comparisons],
                answers,
                [c.reference for c in comparisons],
            )
            for answers in ([c.first for c in comparisons], [c.second for c in comparisons])
        )
        return [self._verdict(a - b) for a, b in zip(first, second, strict=True)]

    def _verdict(self, difference: float) -> float:
        if math.isnan(difference) or abs(difference) <= self.config.margin:
            return 0.5 + 0.0 * difference
        return float(difference > 0)
