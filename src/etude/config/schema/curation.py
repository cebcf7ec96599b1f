"""Configs of the verbs that generate training data with a model."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from etude.config.schema.decoding import DecodingConfig
from etude.config.schema.experiment import SEEDS
from etude.config.schema.generation import PromptConfig
from etude.config.schema.plugins import (
    DataConfig,
    JudgeConfig,
    RewardConfig,
    require,
)
from etude.config.schema.prompting import PromptingConfig


@dataclass
class SamplingConfig(PromptConfig):
    """Base config of the verbs that write a file of completions."""

    run: str = MISSING
    """The model that generates the completions: a run folder or a Hugging Face folder."""
    data: DataConfig = MISSING
    decoding: DecodingConfig = MISSING
    out: str = MISSING
    """The JSON-lines file to write; an existing file is replaced once the new one is complete."""
    n_prompts: int | None = None
    """Use the first n_prompts prompts of the training split; null = all."""
    max_new_tokens: int = 64
    """Maximum length of a completion, in tokens."""
    generation_batch: int = 64
    """Number of completions generated in parallel."""
    seed: int = 0
    """Random seed of sampling."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (
            ("n_prompts", self.n_prompts),
            ("max_new_tokens", self.max_new_tokens),
            ("generation_batch", self.generation_batch),
        ):
            require(value is None or value >= 1, f"{name} must be at least 1, got {value}")
        require(
            self.max_new_tokens < self.data.seq_len,
            "max_new_tokens must be below data.seq_len, the length of prompt and completion, got "
            f"{self.max_new_tokens} and {self.data.seq_len}",
        )
        require(0 <= self.seed < SEEDS, f"seed must be 0 to 2**63 - 1, got {self.seed}")
        require(self.out != "", "out must be a file, got an empty string")


@dataclass
class AnswersConfig(SamplingConfig):
    """Base config of the verbs that let a model answer the prompts of a data set."""

    prompting: PromptingConfig = MISSING


@dataclass
class LabelConfig(AnswersConfig):
    """Config of `etude label`."""

    judge: JudgeConfig = MISSING
    reward: dict[str, RewardConfig] = field(default_factory=dict[str, RewardConfig])
    n_samples: int = 2
    """Completions per prompt; every pair of them is compared. Minimum: 2."""
    min_probability: float = 0.5
    """Keep a pair if one completion is better with a probability above this, in [0.5, 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.n_samples >= 2, f"n_samples must be at least 2, got {self.n_samples}")
        require(
            0.5 <= self.min_probability < 1,
            f"min_probability must be in [0.5, 1), got {self.min_probability}",
        )


@dataclass
class BestOfConfig(AnswersConfig):
    """Config of `etude best-of`."""

    reward: dict[str, RewardConfig] = field(default_factory=dict[str, RewardConfig])
    n_samples: int = 8
    """Completions per prompt."""
    keep_top: int = 1
    """Completions to keep per prompt, by reward, from 1 to n_samples."""
    min_reward: float | None = None
    """Minimum reward of a completion that is kept; null = no minimum."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            1 <= self.keep_top <= self.n_samples,
            f"keep_top must be from 1 to n_samples={self.n_samples}, got {self.keep_top}",
        )


@dataclass
class DialogueConfig(SamplingConfig):
    """Config of `etude dialogue`."""

    user: str = MISSING
    """The model that plays the user: a run folder or a Hugging Face folder."""
    turns: int = 2
    """Assistant turns in each conversation."""
    opening_prompt: str = "Begin a conversation with me, and ask me more whenever I have answered."
    """Instruction to the user model. The first prompt of the data counts as its reply."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.turns >= 1, f"turns must be at least 1, got {self.turns}")
        require(self.opening_prompt.strip() != "", "opening_prompt must not be blank")
        require(self.as_turn is not False, "as_turn=false, but a dialogue consists of turns")
