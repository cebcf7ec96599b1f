"""Samples several chains of thought and chooses the answer that most of them end with.

Wang et al. 2022, https://arxiv.org/abs/2203.11171. Completions without an answer do not vote. Of
answers with the same number of votes, the one sampled first is chosen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from etude import Chat, Prompt, plugin, require
from etude.evaluation import Case, Examples, Prompting

from ._shots import Shots, StepsConfig


class Vote(Enum):
    """The weight of a completion."""

    majority = "majority"
    probability = "probability"


@dataclass
class SelfConsistencyConfig(StepsConfig):
    n_samples: int = 16
    """Completions of each question. Typical: 5-40."""
    vote: Vote = Vote.majority
    """majority = each completion counts 1; probability = its probability per token, the geometric
    mean ("normalized weighted sum", table 1 of the paper)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.n_samples >= 2, f"n_samples must be at least 2, got {self.n_samples}")

    @property
    def n_completions(self) -> int:
        return self.n_samples


@plugin(SelfConsistencyConfig)
class SelfConsistency(Prompting[SelfConsistencyConfig]):
    """The prompts of chain_of_thought, and a vote."""

    def __init__(self, config: SelfConsistencyConfig, examples: Examples) -> None:
        super().__init__(config, examples)
        self.shots = Shots(config, examples, config.cue)
        self.stop = self.shots.stop

    def prompt(self, case: Case[Prompt]) -> str | Chat:
        return self.shots.prompt(case)

    def choose(self, answers: Sequence[str | None], log_probs: Sequence[float]) -> str | None:
        votes: dict[str, float] = {}
        for answer, log_prob in zip(answers, log_probs, strict=True):
            if answer is not None:
                weight = 1.0 if self.config.vote is Vote.majority else math.exp(log_prob)
                votes[answer] = votes.get(answer, 0.0) + weight
        return max(votes, key=votes.__getitem__, default=None)
