"""The shorter answer is the better one.

(Name your own source here, and what you do otherwise.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from etude import plugin, require
from etude.config import JudgeConfig
from etude.rl import Comparison


@dataclass
class SketchConfig(JudgeConfig):
    margin: int = 0
    """The largest difference of lengths that is still a tie, in characters."""

    def __post_init__(self) -> None:
        require(self.margin >= 0, f"margin must be 0 or more, got {self.margin}")


@plugin(SketchConfig)
class Sketch:
    """1, 0 or, for a tie, 0.5: the probability that the first is better; NaN = no verdict."""

    def __init__(self, config: SketchConfig, *given: object) -> None:
        self.margin = config.margin

    def __call__(self, comparisons: Sequence[Comparison]) -> list[float]:
        return [self._verdict(len(c.second) - len(c.first)) for c in comparisons]

    def _verdict(self, shorter_by: int) -> float:
        return 0.5 if abs(shorter_by) <= self.margin else float(shorter_by > 0)
