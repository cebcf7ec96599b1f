"""The base of each group's configs, and what those who write one need.

A plugin's config derives from its group's base and stands beside its code; fields here are
those every member of a group shares. The names of the fields are the names on the command line.
"""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from etude.config.schema.effect import only_with
from etude.config.schema.parameter_group import ParameterGroup

MAX_VOCAB_SIZE = 2**20
"""Room for four times the largest vocabulary in use; the trainers ask for memory in advance."""


def require(condition: bool, message: str) -> None:
    """Raises ValueError(message) unless `condition` holds; for `__post_init__` checks."""
    if not condition:
        raise ValueError(message)


def option(name: str) -> Any:  # Any, so that the field keeps its own annotation
    """The default of a field that holds a plugin: the name of an option of the field's group.

    `mlp: MlpConfig = option("gelu")` in an architecture is `architecture/mlp=gelu` when the user
    names none. Built directly, the field has no value until one is given.
    """
    return field(default=MISSING, metadata={"option": name})


@dataclass
class PluginConfig:
    """Base of every config that chooses a plugin."""

    @property
    def teacher(self) -> str | None:
        """The run that this stands on, if there is one: what `run` names."""
        return None


@dataclass
class ObjectiveConfig(PluginConfig):
    """Base of what is learned: the group `objective`."""

    @property
    def task(self) -> "ObjectiveConfig":
        """What the network is to do: this, or what its teacher does."""
        return self

    def trained(self, architecture: "ArchitectureConfig") -> "ArchitectureConfig":
        """The network as it is built for training: as it is, unless dropout is to be another."""
        return architecture

    def check(self, architecture: "ArchitectureConfig") -> None:
        """Raises ValueError for a network that it cannot train, although it has what it needs."""


@dataclass
class CorruptionConfig(PluginConfig):
    """Base of how a text is damaged for denoising: the group `objective/corruption`."""


@dataclass
class MaskingConfig(PluginConfig):
    """Base of which tokens are to be predicted: the group `objective/masking`."""


@dataclass
class ArchitectureConfig(PluginConfig):
    """Base of the network: the group `architecture`."""

    dim: int = 128
    """Width of the residual stream; a multiple of `n_heads`."""
    n_layers: int = 4
    """Number of blocks (of each stack, where there are two)."""
    n_heads: int = 4
    """Attention heads a layer."""
    dropout: float = 0.0
    """Probability of zeroing each element of the embeddings and of every branch, in [0, 1)."""

    def __post_init__(self) -> None:
        for name in ("dim", "n_layers", "n_heads"):
            value = getattr(self, name)
            require(value >= 1, f"{name} must be at least 1, got {value}")
        require(
            self.dim % self.n_heads == 0,
            f"dim must be a multiple of n_heads, got dim={self.dim} and n_heads={self.n_heads}",
        )
        require(0 <= self.dropout < 1, f"dropout must be in [0, 1), got {self.dropout}")


@dataclass
class AdapterConfig(PluginConfig):
    """Base of what learns beside a frozen network: the group `adapter`."""

    @property
    def n_places(self) -> int:
        """Positions that it takes before those of the text."""
        return 0

    def form(self) -> Any:  # a `PeftForm`, which knows torch
        """How PEFT writes it; None = PEFT has no such adapter."""
        return None


@dataclass
class TokenizerConfig(PluginConfig):
    """Base of the tokenizer: the group `tokenizer`."""


@dataclass
class TemplateConfig(PluginConfig):
    """Base of how a conversation is written: the group `template`."""


@dataclass
class TrainedTokenizerConfig(TokenizerConfig):
    """Base of the tokenizers that are trained on the data."""

    vocab_size: int = 4096
    """Number of ids in all, the reserved special tokens included; a small corpus may give fewer."""

    def __post_init__(self) -> None:
        require(
            self.vocab_size <= MAX_VOCAB_SIZE,
            f"vocab_size must be at most {MAX_VOCAB_SIZE:,}, got {self.vocab_size}",
        )


@dataclass
class DataConfig(PluginConfig):
    """Base of where records come from: the group `data`."""

    seq_len: int = 256
    """Longest sequence given to the network, in tokens."""
    val_fraction: float = 0.1
    """Share of the records held out, chosen by a hash of their content, in (0, 1)."""
    strict: bool = False
    """Refuse the data if any row is bad, instead of reporting the bad rows and using the rest."""

    def __post_init__(self) -> None:
        require(self.seq_len >= 2, f"seq_len must be at least 2, got {self.seq_len}")
        require(
            0 < self.val_fraction < 1,
            f"val_fraction must lie strictly between 0 and 1, got {self.val_fraction}",
        )


@dataclass
class TextDataConfig(DataConfig):
    """Base of the data plugins that yield raw text."""

    pack: bool = True
    """Concatenate documents and cut rows of seq_len; false truncates and pads each document."""
    intra_document: bool = only_with("pack", False)
    """Let tokens attend only within their own document; positions then restart in each."""


@dataclass
class OptimizerConfig(PluginConfig):
    """Base of the optimizer: the group `optimizer`."""

    lr: float = MISSING
    """Peak learning rate; when not given, the objective's own."""
    weight_decay: float = 0.0
    """Share of each matrix taken away a step, times the learning rate."""
    groups: list[ParameterGroup] = field(default_factory=list[ParameterGroup])
    """Exceptions, the first that fits a name wins: [{pattern:"*.norm*",lr:0.1,weight_decay:0}]."""

    def __post_init__(self) -> None:
        require(self.lr > 0, f"lr must be positive, got {self.lr}")
        require(self.weight_decay >= 0, f"weight_decay must be 0 or more, got {self.weight_decay}")


@dataclass
class ScheduleConfig(PluginConfig):
    """Base of how the learning rate moves: the group `schedule`."""

    warmup_steps: int | None = None
    """Steps of linear rise from 0; null = min(100, 10 % of all steps)."""

    def __post_init__(self) -> None:
        require(
            self.warmup_steps is None or self.warmup_steps >= 0,
            f"warmup_steps must be 0 or more, got {self.warmup_steps}",
        )


@dataclass
class StrategyConfig(PluginConfig):
    """Base of how devices share the work: the group `strategy`."""


@dataclass
class LoggerConfig(PluginConfig):
    """Base of where metrics are shown: the group `logger`."""


@dataclass
class CallbackConfig(PluginConfig):
    """Base of what else happens during training: the group `callback`."""


@dataclass
class RewardConfig(PluginConfig):
    """Base of what scores a completion: the group `reward`."""

    weight: float = 1.0
    """Factor of this reward in the sum of all chosen ones."""


@dataclass
class JudgeConfig(PluginConfig):
    """Base of what says which of two completions is better: the group `judge`."""

    @property
    def compares_scores(self) -> bool:
        """Whether it goes by the rewards chosen beside it; else there must be none."""
        return False


@dataclass
class DecodingConfig(PluginConfig):
    """Base of how the next token is chosen: the group `decoding`."""

    repetition_penalty: float = 1.0
    """Lowers logits of tokens that stand in prompt or answer already; 1 = off, usual 1.0 to 1.3."""

    def __post_init__(self) -> None:
        require(
            self.repetition_penalty > 0,
            f"repetition_penalty must be positive, got {self.repetition_penalty}",
        )
