"""1 for a completion in which a Python `re` pattern is found, 0 for any other.

Use ^ and $ to match from end to end; the dot also matches line breaks. A pattern with nested
repetitions, such as (a+)+b, may take practically forever on a long completion.
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
    """Pattern to search for. On a command line, quote it: 'reward.regex.pattern="^[0-9]+$"'."""
    right: list[str] = field(default_factory=list[str])
    """Completions that must match; otherwise training is refused."""
    wrong: list[str] = field(default_factory=list[str])
    """Completions that must not match; otherwise training is refused."""

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(
                f"pattern={self.pattern} is not a regular expression: {error}"
            ) from error


@plugin(RegexConfig)
class Regex(Verifier[RegexConfig]):
    """Ignores prompts and references."""

    def __init__(self, config: RegexConfig) -> None:
        super().__init__(config)
        self.pattern = re.compile(config.pattern, re.DOTALL)

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> list[float]:
        return [float(self.pattern.search(completion) is not None) for completion in completions]

    def bench(self) -> list[Bench]:
        """The user's examples; an empty completion must never match."""
        return [Bench(None, right=self.config.right, wrong=self.config.wrong, malformed=["", "\n"])]
