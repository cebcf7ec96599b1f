"""Exact match of the last word: 1 if it equals the reference, otherwise 0.

(Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass

from etude import plugin
from etude.config import RewardConfig
from etude.rl import AnswerVerifier, Bench


@dataclass
class SketchConfig(RewardConfig):
    strip: str = ".!?"
    """Trailing characters to strip before the last word is read."""


@plugin(SketchConfig)
class Sketch(AnswerVerifier[SketchConfig]):
    """Compares the last word with the reference."""

    def score(self, completion: str, reference: str) -> float:
        words = completion.rstrip(self.config.strip + " \n").split()
        return float(words[-1:] == [reference])

    def bench(self) -> list[Bench]:
        """Cases it must pass before training; a policy exploits every loophole that they miss."""
        return [
            Bench(
                "42",
                right=["42", "It is 42", "the answer is 42 \n"],
                wrong=["43", "42 or 43", "It is 420"],
                malformed=["", " ", "..."],
                adversarial=["42 41", "-42", "4 2", "042", "42,"],
            )
        ]
