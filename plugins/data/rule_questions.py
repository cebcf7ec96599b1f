"""Questions of one rule, which they do not name: `4821:` is 1284 if digits are to be reversed.

Without an example of the rule they cannot be answered. `data=rule_documents` has training text.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from etude import Prompt, plugin, require
from etude.config import DataConfig
from etude.data import DataSource

from ._rules import Rule, questions


@dataclass
class RuleQuestionsConfig(DataConfig):
    rule: Rule = Rule.reverse
    """The rule of all questions."""
    size: int = 4
    """Digits of a question, 1 to 12."""
    n_problems: int = 1000
    """Number of distinct questions, 2 to 10 ** size."""
    problem_seed: int = 1
    """Seed that selects the digits."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.size <= 12, f"size must be 1 to 12, got {self.size}")
        require(
            2 <= self.n_problems <= 10**self.size,
            f"n_problems must be 2 to {10**self.size}, got {self.n_problems}",
        )


@plugin(RuleQuestionsConfig, yields=Prompt)
class RuleQuestions(DataSource[RuleQuestionsConfig]):
    """Each question occurs once."""

    def records(self) -> Iterator[Prompt]:
        config = self.config
        seen: set[Prompt] = set()
        for one in questions(config.rule, config.size, Random(config.problem_seed)):
            if len(seen) == config.n_problems:
                return
            if one not in seen:
                seen.add(one)
                yield one

    def fingerprint(self) -> str:
        return ""
