"""What `etude generate` is asked."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from etude.config.schema.plugins import (
    DecodingConfig,
    require,
)


@dataclass
class GenerationConfig:
    """What `etude generate` is asked."""

    decoding: DecodingConfig = MISSING
    run: str = MISSING
    """The model: a run folder, or a Hugging Face folder."""
    prompt: str = MISSING
    """Text to go on from, to fill ([MASK]) or to transduce; <sentinel_0> and the like are meant."""
    system: str | None = None
    """What is said before the prompt to a model that was taught conversations, by the system."""
    max_new_tokens: int = 128
    """Longest answer, in tokens."""
    n: int = 1
    """Answers to the same prompt."""
    stop: list[str] = field(default_factory=list[str])
    """Strings that end an answer; they are left out of it."""
    seed: int = 0
    """Decides what is sampled."""

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "n"):
            value = getattr(self, name)
            require(value >= 1, f"{name} must be at least 1, got {value}")
        require(self.seed >= 0, f"seed must be 0 or more, got {self.seed}")
        require("" not in self.stop, "stop holds an empty string, which would end every answer")
