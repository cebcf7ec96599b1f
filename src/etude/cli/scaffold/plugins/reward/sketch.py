"""1 for a completion whose last word is the reference, 0 for any other.

(Name your own source here, and what you do otherwise.)
"""

from dataclasses import dataclass

from etude import plugin
from etude.config import RewardConfig
from etude.rl import AnswerVerifier, Bench


@dataclass
class SketchConfig(RewardConfig):
    strip: str = ".!?"
    """Characters that may stand behind the last word."""


@plugin(SketchConfig)
class Sketch(AnswerVerifier[SketchConfig]):
    """last word == reference."""

    def score(self, completion: str, reference: str) -> float:
        words = completion.rstrip(self.config.strip + " \n").split()
        return float(words[-1:] == [reference])

    def bench(self) -> list[Bench]:
        """What it is tried on before it may pay: every policy finds a fault that is not here."""
        return [
            Bench(
                "42",
                right=["42", "It is 42", "the answer is 42 \n"],
                wrong=["43", "42 or 43", "It is 420"],
                malformed=["", " ", "..."],
                adversarial=["42 41", "-42", "4 2", "042", "42,"],
            )
        ]
