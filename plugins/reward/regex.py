"""1 for a completion in which a Python `re` pattern is found, 0 for any other.

Use ^ and $ to match from end to end; the dot also matches line breaks. The search runs in a process
with a time limit, because a pattern with nested repetitions, such as (a+)+b, may take practically
forever on a long completion.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from omegaconf import MISSING

from etude import plugin, require
from etude.config import RewardConfig
from etude.rl import Bench, Verifier

from .._sandbox.sandbox import Sandbox
from .._sandbox.scorer import Scorer

MEMORY_MB = 512
SCORER = """\
import re
search = re.compile({pattern!r}, re.DOTALL).search
def score(completion):
    return search(completion) is not None
"""


@dataclass
class RegexConfig(RewardConfig):
    pattern: str = MISSING
    """Pattern to search for. On a command line, quote it: 'reward.regex.pattern="^[0-9]+$"'."""
    timeout_s: float = 1.0
    """Time limit of a search, in seconds; a completion that takes longer does not match."""
    right: list[str] = field(default_factory=list[str])
    """Completions that must match; otherwise training is refused."""
    wrong: list[str] = field(default_factory=list[str])
    """Completions that must not match; otherwise training is refused."""

    def __post_init__(self) -> None:
        require(self.timeout_s > 0, f"timeout_s must be above 0, got {self.timeout_s}")
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(
                f"pattern={self.pattern} is not a regular expression: {error}"
            ) from error


@plugin(RegexConfig, example={"pattern": "[0-9]+"})
class Regex(Verifier[RegexConfig]):
    """Ignores prompts and references."""

    def __init__(self, config: RegexConfig) -> None:
        super().__init__(config)
        sandbox = Sandbox("reward=regex", config.timeout_s, MEMORY_MB, trusted=True)  # runs no code
        self.scores = Scorer(sandbox, SCORER.format(pattern=config.pattern))

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> list[float]:
        return [float(score == 1) for score in self.scores(completions)]

    def bench(self) -> list[Bench]:
        """The user's examples; an empty completion must never match."""
        return [Bench(None, right=self.config.right, wrong=self.config.wrong, malformed=["", "\n"])]
