"""Config of `etude generate`, and of every verb that prompts a model."""

from dataclasses import dataclass, field
from typing import Annotated

from omegaconf import MISSING

from etude.config.schema.decoding import DecodingConfig, GeneratorConfig
from etude.config.schema.plugins import require

AS_TURN = ("auto", "true", "false")


@dataclass
class PromptConfig:
    """Base config of the verbs that prompt a model."""

    as_turn: Annotated[bool | str, AS_TURN] = "auto"
    """Whether a prompt is a user turn of the model's chat template, which the model answers, or
    plain text, which it continues; auto = a turn if the model has a template."""

    def __post_init__(self) -> None:
        require(
            self.as_turn in ("auto", True, False),
            f"as_turn must be auto, true or false, got {self.as_turn}",
        )


@dataclass
class GenerationConfig(PromptConfig):
    """Config of `etude generate`."""

    decoding: DecodingConfig = MISSING
    generator: GeneratorConfig = MISSING
    run: str = MISSING
    """The model: a run folder or a Hugging Face folder."""
    prompt: str | None = None
    """Prompt. Decoders continue it, encoders fill [MASK], encoder-decoders transform it. Special
    tokens such as <sentinel_0> are parsed. A run with a trained head answers about it: with labels,
    tags or a vector. null = the texts of `input`."""
    second: str | None = None
    """Second text of a pair, for a head that was trained on pairs; null = none."""
    input: str | None = None
    """File of texts for a run with a trained head, one per line, or of rows with the fields text
    and second (.jsonl); - reads lines from standard input. Answers are rows of JSON. null = the
    prompt."""
    system: str | None = None
    """System message before the prompt, for models trained on conversations; null = none."""
    max_new_tokens: int = 128
    """Maximum length of a completion, in tokens."""
    n: int = 1
    """Number of completions of the prompt."""
    stop: list[str] = field(default_factory=list[str])
    """Strings that end a completion; they are not part of it."""
    seed: int = 0
    """Random seed of sampling."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("max_new_tokens", "n"):
            value = getattr(self, name)
            require(value >= 1, f"{name} must be at least 1, got {value}")
        require(self.seed >= 0, f"seed must be 0 or more, got {self.seed}")
        require("" not in self.stop, "stop must not contain an empty string, which ends any text")

    @property
    def text(self) -> str:
        """The prompt of a model that needs one."""
        assert self.prompt is not None, "the verb has refused a config without"
        return self.prompt
