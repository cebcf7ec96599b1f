"""0 for a completion that is short enough, then linearly down to -1 at the limit.

The soft overlong punishment of DAPO (Yu et al. 2025, https://arxiv.org/abs/2503.14476, equation
13). Deviation: lengths are counted in characters, since a reward sees texts, not tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from omegaconf import MISSING

from etude import plugin, require
from etude.config import RewardConfig
from etude.rl import Bench, Verifier


@dataclass
class OverlongConfig(RewardConfig):
    limit: int = MISSING
    """Length in characters from which the penalty is -1: about what max_new_tokens allows."""
    margin: int = MISSING
    """Characters below the limit at which the penalty starts; a fifth of the limit in DAPO."""

    def __post_init__(self) -> None:
        require(
            0 < self.margin < self.limit,
            f"margin must be above 0 and below limit, got {self.margin} and {self.limit}",
        )


def soft_overlong(length: int, limit: int, margin: int) -> float:
    """0 up to limit - margin, ((limit - margin) - length) / margin up to the limit, -1 above."""
    return -min(1.0, max(0.0, (length - (limit - margin)) / margin))


@plugin(OverlongConfig, example={"limit": 20, "margin": 10})
class Overlong(Verifier[OverlongConfig]):
    """Counts every character, including white space."""

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> list[float]:
        limit = self.config.limit
        margin = self.config.margin
        return [soft_overlong(len(completion), limit, margin) for completion in completions]

    def bench(self) -> list[Bench]:
        limit = self.config.limit
        free = self.config.limit - self.config.margin
        return [
            Bench(
                None,
                right=["", "a" * free],
                wrong=["a" * (free + 1), "a" * limit, "a" * 2 * limit],
                adversarial=[" " * limit, "a" + "\n" * limit],
                full_reward=0.0,
            )
        ]
