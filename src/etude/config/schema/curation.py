"""What is asked of the verbs that make data of what models write."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from etude.config.schema.experiment import SEEDS
from etude.config.schema.plugins import (
    DataConfig,
    DecodingConfig,
    JudgeConfig,
    RewardConfig,
    require,
)


@dataclass
class SamplingConfig:
    """What every verb that writes a file of answers is asked."""

    run: str = MISSING
    """The model that answers: a run folder, or a Hugging Face folder."""
    data: DataConfig = MISSING
    decoding: DecodingConfig = MISSING
    out: str = MISSING
    """The file of JSON lines to write; one that exists is replaced when the new one is whole."""
    n_prompts: int | None = None
    """Prompts that are answered, the first ones for training; null = all."""
    max_new_tokens: int = 64
    """Longest answer, in tokens."""
    generation_batch: int = 64
    """Answers written at the same time."""
    seed: int = 0
    """Decides what is sampled."""

    def __post_init__(self) -> None:
        for name, value in (
            ("n_prompts", self.n_prompts),
            ("max_new_tokens", self.max_new_tokens),
            ("generation_batch", self.generation_batch),
        ):
            require(value is None or value >= 1, f"{name} must be at least 1, got {value}")
        require(
            self.max_new_tokens < self.data.seq_len,
            "max_new_tokens must be below data.seq_len, which holds prompt and answer, got "
            f"{self.max_new_tokens} and {self.data.seq_len}",
        )
        require(0 <= self.seed < SEEDS, f"seed must be 0 to 2**63 - 1, got {self.seed}")
        require(self.out != "", "out names no file: it is empty")


@dataclass
class LabelConfig(SamplingConfig):
    """What `etude label` is asked."""

    judge: JudgeConfig = MISSING
    reward: dict[str, RewardConfig] = field(default_factory=dict[str, RewardConfig])
    n_samples: int = 2
    """Answers to each prompt; every two of them are compared."""
    min_probability: float = 0.5
    """A pair is kept if one answer is better with a probability above this, in [0.5, 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.n_samples >= 2, f"n_samples must be at least 2, got {self.n_samples}")
        require(
            0.5 <= self.min_probability < 1,
            f"min_probability must be in [0.5, 1), got {self.min_probability}",
        )


@dataclass
class BestOfConfig(SamplingConfig):
    """What `etude best-of` is asked."""

    reward: dict[str, RewardConfig] = field(default_factory=dict[str, RewardConfig])
    n_samples: int = 8
    """Answers to each prompt."""
    keep_top: int = 1
    """Answers of each prompt that are kept, the best ones; n_samples = every one that is good enough."""
    min_reward: float | None = None
    """The lowest reward with which an answer is kept; null = any."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            1 <= self.keep_top <= self.n_samples,
            f"keep_top must be 1 to n_samples, got {self.keep_top} of {self.n_samples}",
        )


@dataclass
class DialogueConfig(SamplingConfig):
    """What `etude dialogue` is asked."""

    user: str = MISSING
    """The model that plays the user: a run folder, or a Hugging Face folder."""
    turns: int = 2
    """Answers in each conversation."""
    opening_prompt: str = "Begin a conversation with me, and ask me more whenever I have answered."
    """What the one who plays the user is told before the first prompt, which counts as its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.turns >= 1, f"turns must be at least 1, got {self.turns}")
        require(self.opening_prompt.strip() != "", "opening_prompt says nothing")
