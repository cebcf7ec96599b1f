"""0 for a completion of the target length, falling to -1 with the distance from it.

Aggarwal and Welleck 2025 (L1), https://arxiv.org/abs/2503.04697, equation 1: the penalty is
proportional to |target - length|. Deviations: it is a fraction of the target, at most 1; lengths
are counted in characters, since a reward sees texts, not tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from omegaconf import MISSING

from etude import plugin, require
from etude.config import RewardConfig
from etude.rl import Bench, Verifier


@dataclass
class LengthConfig(RewardConfig):
    target: int = MISSING
    """Target length of a completion, in characters."""

    def __post_init__(self) -> None:
        require(self.target >= 1, f"target must be at least 1, got {self.target}")


@plugin(LengthConfig, example={"target": 9})
class Length(Verifier[LengthConfig]):
    """-min(1, |length - target| / target); white space around a completion is ignored."""

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> list[float]:
        target = self.config.target
        lengths = [len(completion.strip()) for completion in completions]
        return [-min(1.0, abs(length - target) / target) for length in lengths]

    def bench(self) -> list[Bench]:
        n = self.config.target
        return [
            Bench(
                None,
                right=["a" * n, f"\n{'a' * n} "],
                wrong=["a" * (n + 1), "a" * 3 * n],
                malformed=[""],
                adversarial=[" " * n, "\n" * n],
                full_reward=0.0,
            )
        ]
