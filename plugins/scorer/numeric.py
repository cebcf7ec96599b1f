"""The last number of a completion is the answer, and is right if it equals the reference.

Cobbe et al. 2021 (GSM8K), https://arxiv.org/abs/2110.14168; as reward=numeric reads it.
"""

from dataclasses import dataclass
from decimal import Decimal

from etude import plugin, require
from etude.config import ScorerConfig
from etude.evaluation import AnswerScorer
from etude.rl import Bench, last_number


@dataclass
class NumericConfig(ScorerConfig):
    tolerance: float = 0.0
    """Largest absolute difference from the reference that counts as right; 0 = exact."""

    def __post_init__(self) -> None:
        require(self.tolerance >= 0, f"tolerance must be 0 or more, got {self.tolerance}")


@plugin(NumericConfig)
class Numeric(AnswerScorer[NumericConfig]):
    """|last number - reference| <= tolerance; a completion without a number is unanswered."""

    def bench(self) -> list[Bench]:
        far = 1234567890124 + int(self.config.tolerance)
        return [
            Bench(
                "1234567890123",
                right=["1234567890123", "so x = 1,234,567,890,123.", "7, no: +1234567890123.0"],
                wrong=[f"{far}", "-1234567890123", f"1234567890123 or {far}"],
                malformed=["", "none", "x1234567890123"],
            )
        ]

    def extract(self, completion: str) -> str | None:
        number = last_number(completion)
        return None if number is None else str(number)

    def is_right(self, answer: str, reference: str) -> bool:
        expected = last_number(reference)
        if expected is None:
            return False
        return abs(Decimal(answer) - expected) <= Decimal(self.config.tolerance)
