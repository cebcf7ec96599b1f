"""1 for a completion whose last number equals the reference, 0 for any other.

The rule of Cobbe et al. 2021 (GSM8K), https://arxiv.org/abs/2110.14168, for extracting answers from
free text; deviation: the last number counts anywhere, not only after `####`. Numbers are compared
as decimals, so long ones are not rounded. A reference that is not a number gives no verdict.
"""

import math
from dataclasses import dataclass
from decimal import Decimal

from etude import plugin, require
from etude.config import RewardConfig
from etude.rl import AnswerVerifier, Bench, last_number


@dataclass
class NumericConfig(RewardConfig):
    tolerance: float = 0.0
    """Largest absolute difference from the reference that counts as right; 0 = exact."""

    def __post_init__(self) -> None:
        require(self.tolerance >= 0, f"tolerance must be 0 or more, got {self.tolerance}")


@plugin(NumericConfig)
class Numeric(AnswerVerifier[NumericConfig]):
    """|last number - reference| <= tolerance."""

    def score(self, completion: str, reference: str) -> float:
        expected = last_number(reference)
        answer = last_number(completion)
        if expected is None:
            return math.nan
        if answer is None:
            return 0.0
        near = self.config.tolerance > 0 and abs(answer - expected) <= Decimal(
            self.config.tolerance
        )
        return float(near or answer == expected)

    def bench(self) -> list[Bench]:
        """The wrong answers differ by more than the tolerance."""
        far = 1234567890124 + math.ceil(self.config.tolerance)
        return [
            Bench(
                "1234567890123",
                right=["1234567890123", "so x = 1,234,567,890,123.", "7, no: +1234567890123.0"],
                wrong=[f"{far}", "-1234567890123", "\N{MINUS SIGN}1234567890123"],
                malformed=[
                    "",
                    "none",
                    "x1234567890123",
                    "1234567890123x",
                    ".",
                    "1234567890123.0.1",
                ],
                adversarial=[
                    f"1234567890123 or {far}",
                    f"1234567890123,{far}",
                    "1234567890123 1",
                    "1 234 567 890 123",
                    "1234567890123e1",
                    "1e999",
                    "nan",
                    "inf",
                    "{reference}",
                ],
            )
        ]
