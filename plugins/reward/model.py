"""The score of a trained reward model: a finished run of objective=reward.

Normalised as in Ziegler et al. 2019, https://arxiv.org/abs/1909.08593, section 2.1, to mean 0 and
standard deviation 1; deviation: on the held-out completions of the reward model's own data, not on
samples of the policy. It runs on the CPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from omegaconf import MISSING

from etude import Chat, plugin, require
from etude.config import RewardConfig
from etude.objective import ChatReward
from etude.rl import read_reward_model


@dataclass
class ModelRewardConfig(RewardConfig):
    run: str = MISSING
    """Folder of the reward model's run."""
    normalise: bool = True
    """Normalise scores to mean 0 and standard deviation 1 on held-out completions."""
    batch: int = 16
    """Completions per forward pass."""

    def __post_init__(self) -> None:
        require(self.batch >= 1, f"batch must be at least 1, got {self.batch}")

    @property
    def teacher(self) -> str:
        return self.run


@plugin(ModelRewardConfig, example={"run": "{run:objective=reward data.seq_len=256}"})
class ModelReward(ChatReward):
    """(score - mean) / std; references are ignored."""

    def __init__(self, config: ModelRewardConfig) -> None:
        self.config = config
        self.scorer = read_reward_model(config.run)

    def __call__(
        self,
        prompts: Sequence[str | Chat],
        completions: Sequence[str],
        references: Sequence[str | None],
    ) -> list[float]:
        scores = self.scorer(prompts, completions, self.config.batch)
        if self.config.normalise:
            scores = (scores - self.scorer.mean) / max(self.scorer.std, 1e-8)
        return scores.tolist()
