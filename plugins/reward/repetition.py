"""0 for a completion without repetition, down to -1 for one that repeats the same words.

The n-gram penalty of Yeo et al. 2025, https://arxiv.org/abs/2502.03373, appendix B, in its simple
form: -(1 - distinct n-grams / n-grams). Words are runs of letters and digits; a character of a
script without spaces is a word of its own, and so is every other symbol.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from etude import plugin, require
from etude.config import RewardConfig
from etude.rl import Bench, Verifier

UNSPACED = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Thai, Lao, kana and Chinese characters."""
WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+|[^\w\s]")


@dataclass
class RepetitionConfig(RewardConfig):
    n: int = 3
    """N-gram length in words, 1 to 40."""

    def __post_init__(self) -> None:
        require(self.n >= 1, f"n must be at least 1, got {self.n}")


def repeated_share(text: str, n: int) -> float:
    """Fraction of a text's n-grams that have occurred before; 0 if there are none."""
    words = WORD.findall(text.lower())
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


@plugin(RepetitionConfig)
class Repetition(Verifier[RepetitionConfig]):
    """-(fraction of n-grams that have occurred before)."""

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> list[float]:
        return [-repeated_share(completion, self.config.n) for completion in completions]

    def bench(self) -> list[Bench]:
        n = self.config.n
        different = " ".join(f"w{i}" for i in range(2 * n))
        chinese = "".join(chr(0x4E00 + i) for i in range(n))
        return [
            Bench(
                None,
                right=["", "once", different],
                wrong=[f"{different} {different}", "no " * 2 * n],
                malformed=["." * 4 * n, "?! " * 4 * n],
                adversarial=[
                    f"{different}\n\n{different.upper()}",
                    f"{different}  {different.replace(' ', '   ')}",
                    chinese * 3,
                ],
                full_reward=0.0,
            )
        ]
