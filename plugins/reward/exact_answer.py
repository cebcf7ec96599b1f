"""1 for a completion that equals the reference answer, 0 for any other.

Surrounding white space is ignored. With `after`, as for R1 (DeepSeek-AI 2025,
https://arxiv.org/abs/2501.12948, section 2.2.2), only the text after the reasoning is the answer. A
prompt without a reference is a data error.
"""

from dataclasses import dataclass

from etude import plugin, require
from etude.config import RewardConfig
from etude.rl import AnswerVerifier, Bench


@dataclass
class ExactAnswerConfig(RewardConfig):
    after: str | None = None
    """The answer is the text after the last of this string, such as </think>; null = all text."""

    def __post_init__(self) -> None:
        require(self.after != "", "after must not be empty; null takes the whole completion")


@plugin(ExactAnswerConfig)
class ExactAnswer(AnswerVerifier[ExactAnswerConfig]):
    """answer == reference."""

    def score(self, completion: str, reference: str) -> float:
        return float(self._answer(completion) == reference.strip())

    def _answer(self, completion: str) -> str | None:
        """The answer; None if the completion never reaches it."""
        if self.config.after is None:
            return completion.strip()
        _, marker, answer = completion.rpartition(self.config.after)
        return answer.strip() if marker else None

    def bench(self) -> list[Bench]:
        before = self.config.after or ""
        tricks = ["42 42", "41 42", "42 or 43", "4 2", "42.", "42\0", "'42'", "{answer}"]
        unopened = ["42", f"42{before}", f"42{before}43"] if before else []
        return [
            Bench(
                "42",
                right=[f"{before}42", f"{before} 42\n"],
                wrong=[f"{before}{answer}" for answer in ("43", "-42", "420", "forty-two")],
                malformed=["", " ", before],
                adversarial=[*(f"{before}{trick}" for trick in tricks), *unopened],
            )
        ]
