"""An answer is right if it starts like the reference.

(Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass

from etude import plugin, require
from etude.config import ScorerConfig
from etude.evaluation import AnswerScorer
from etude.rl import Bench


@dataclass
class SketchConfig(ScorerConfig):
    n_characters: int = 4
    """Number of characters that are compared."""

    def __post_init__(self) -> None:
        require(self.n_characters >= 1, f"n_characters must be >= 1, got {self.n_characters}")


@plugin(SketchConfig)
class Sketch(AnswerScorer[SketchConfig]):
    """Compares the first characters, after white space is stripped."""

    def bench(self) -> list[Bench]:
        text = "x" * self.config.n_characters
        return [Bench(text, right=[text, f" {text}!"], wrong=[f"y{text}"], malformed=["", " "])]

    def extract(self, completion: str) -> str | None:
        return completion.strip() or None

    def is_right(self, answer: str, reference: str) -> bool:
        n = self.config.n_characters
        return answer[:n] == reference.strip()[:n]
