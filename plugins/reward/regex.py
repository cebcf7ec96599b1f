"""1 for a completion in which a pattern of Python's `re` is found, 0 for any other.

Write ^ and $ to match from end to end; the dot matches line breaks, too. A pattern that holds a
repetition within a repetition, such as (a+)+b, may take for ever on a long completion.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from omegaconf import MISSING

from etude import plugin
from etude.config import RewardConfig
from etude.rl import Bench, Verifier


@dataclass
class RegexConfig(RewardConfig):
    pattern: str = MISSING
    """What is to be found. On a command line, quote it: 'reward.regex.pattern="^[0-9]+$"'."""
    right: list[str] = field(default_factory=list[str])
    """Completions in which it must be found, or training is refused."""
    wrong: list[str] = field(default_factory=list[str])
    """Completions in which it must not be found, or training is refused."""

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"pattern={self.pattern} is no regular expression: {error}") from error


@plugin(RegexConfig)
class Regex(Verifier[RegexConfig]):
    """Prompts and references are not looked at."""

    def __init__(self, config: RegexConfig) -> None:
        super().__init__(config)
        self.pattern = re.compile(config.pattern, re.DOTALL)

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> list[float]:
        return [float(self.pattern.search(completion) is not None) for completion in completions]

    def bench(self) -> list[Bench]:
        """What the user gives; and an empty completion is never paid."""
        return [Bench(None, right=self.config.right, wrong=self.config.wrong, malformed=["", "\n"])]
