"""1 for a completion that first reasons between two tags and then answers; 0 for any other.

The format reward of DeepSeek-R1 (DeepSeek-AI 2025, https://arxiv.org/abs/2501.12948, section
2.2.2): <think>...</think>, exactly once, not empty, at the start; then an answer. Deviation: the
answer has no tags of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from etude import plugin, require
from etude.config import RewardConfig
from etude.rl import Bench, Verifier


@dataclass
class FormatConfig(RewardConfig):
    start: str = "<think>"
    """Tag that opens the reasoning."""
    end: str = "</think>"
    """Tag that closes the reasoning; the answer follows it."""

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            tag = self.start if name == "start" else self.end
            require(
                tag == tag.strip() != "", f"{name} must be a tag without surrounding white space"
            )
        require(
            self.start not in self.end and self.end not in self.start,
            f"neither of start and end may contain the other, got {self.start} and {self.end}",
        )


def is_thought_first(completion: str, start: str, end: str) -> bool:
    """Whether reasoning comes first, exactly once and not empty, followed by an answer."""
    opened, _, rest = completion.strip().partition(start)
    thought, _, answer = rest.partition(end)
    once = completion.count(start) == completion.count(end) == 1
    return once and not opened and bool(thought.strip()) and bool(answer.strip())


@plugin(FormatConfig)
class Format(Verifier[FormatConfig]):
    """Checks only the format; other rewards check the content."""

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> list[float]:
        start = self.config.start
        end = self.config.end
        return [float(is_thought_first(completion, start, end)) for completion in completions]

    def bench(self) -> list[Bench]:
        start = self.config.start
        end = self.config.end
        return [
            Bench(
                None,
                right=[f"{start}2 + 2{end}4", f"\n{start}\nwell\n{end}\n\n4\n"],
                wrong=["4", f"{start}2 + 2{end}", f"4{start}2 + 2{end}"],
                malformed=["", f"{start}2 + 2", f"2 + 2{end}4", f"{start}{end}", start, end],
                adversarial=[
                    f"{start}{end}4",
                    f"{start} {end} 4",
                    f"{start}a{end}{start}b{end}4",
                    f"{start}{start}a{end}{end}4",
                    f"{end}a{start}4",
                    f"4 {start}a{end} 4",
                ],
            )
        ]
