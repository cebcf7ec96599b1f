"""Prefers the shorter answer.

(Replace this with your source and your deviations from it.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from etude import plugin, require
from etude.config import JudgeConfig
from etude.rl import Comparison


@dataclass
class SketchConfig(JudgeConfig):
    margin: int = 0
    """Maximum length difference that counts as a tie, in characters."""

    def __post_init__(self) -> None:
        require(self.margin >= 0, f"margin must be 0 or more, got {self.margin}")


@plugin(SketchConfig)
class Sketch:
    """Returns the probability that the first answer is better: 1, 0 or 0.5 for a tie."""

    def __init__(self, config: SketchConfig, *given: object) -> None:
        self.margin = config.margin

    def __call__(self, comparisons: Sequence[Comparison]) -> list[float]:
        return [self._verdict(len(c.second) - len(c.first)) for c in comparisons]

    def _verdict(self, shorter_by: int) -> float:
        return 0.5 if abs(shorter_by) <= self.margin else float(shorter_by > 0)
