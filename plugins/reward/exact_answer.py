"""1 for a completion that is the reference answer, 0 for any other.

White space around both is ignored. A prompt without a reference is an error of the data.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from etude import plugin
from etude.errors import DataError
from etude.schema import RewardConfig


@dataclass
class ExactAnswerConfig(RewardConfig):
    """No knobs of its own."""


@plugin(ExactAnswerConfig)
class ExactAnswer:
    """completion == reference."""

    def __init__(self, config: ExactAnswerConfig) -> None:
        self.config = config

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> list[float]:
        if None in references:
            raise DataError(
                f"reward=exact_answer needs a reference answer, and the prompt "
                f"{prompts[references.index(None)]!r} has none."
            )
        pairs = zip(completions, references, strict=True)
        return [float(written.strip() == str(answer).strip()) for written, answer in pairs]
