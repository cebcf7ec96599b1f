"""An answer is right if it is the same text as the reference.

Exact match of Rajpurkar et al. 2016 (SQuAD), https://arxiv.org/abs/1606.05250, section 6.1, without
its normalisation of articles, which is only for English.
"""

import re
from dataclasses import dataclass

from etude import plugin, require
from etude.config import ScorerConfig
from etude.evaluation import AnswerScorer
from etude.rl import Bench


@dataclass
class ExactConfig(ScorerConfig):
    pattern: str | None = None
    """Regular expression of an answer in a completion; its last match counts, or the first group
    of that. null = the whole completion."""
    ignore_case: bool = False
    """Compare without regard to upper and lower case."""

    def __post_init__(self) -> None:
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                require(False, f"pattern is not a regular expression: {error}")


@plugin(ExactConfig)
class Exact(AnswerScorer[ExactConfig]):
    """Equality after white space is normalised."""

    def bench(self) -> list[Bench]:
        """Without answers of a pattern, because their form is the user's."""
        if self.config.pattern is not None:
            return []
        cases = [] if self.config.ignore_case else ["a b"]
        right = ["A B", " A  B\n", *(["a b"] if self.config.ignore_case else [])]
        return [Bench("A B", right, wrong=["A", "A B.", "B A", *cases], malformed=["", " \n"])]

    def extract(self, completion: str) -> str | None:
        text = completion
        if self.config.pattern is not None:
            matches = list(re.finditer(self.config.pattern, completion))
            if not matches:
                return None
            text = matches[-1][matches[-1].re.groups and 1] or ""
        return " ".join(text.split()) or None

    def is_right(self, answer: str, reference: str) -> bool:
        answer, reference = (" ".join(text.split()) for text in (answer, reference))
        if self.config.ignore_case:
            answer, reference = answer.casefold(), reference.casefold()
        return answer == reference
