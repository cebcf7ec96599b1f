"""The base config of each plugin group, and helpers for plugin configs.

A plugin's config derives from its group's base and is in the same file as its code. The fields
here are shared by every plugin of a group. Field names are the names on the command line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from etude.config.schema.effect import only_with
from etude.config.schema.parameter_group import ParameterGroup

MAX_VOCAB_SIZE = 2**20
"""Four times the largest vocabulary in use; a limit, because trainers preallocate memory."""
MAX_LAYERS = 2000
"""Twice the deepest network that was ever trained."""
LARGEST = 2**24
"""The largest sequence, in tokens, and the largest global batch: far beyond any in use."""
N_SENTINELS = 100
"""The sentinel tokens of every tokenizer that étude makes, and of T5."""


def require(condition: bool, message: str) -> None:
    """Raises ValueError(message) unless `condition` is true; for `__post_init__` checks."""
    if not condition:
        raise ValueError(message)


def option(name: str) -> Any:  # Any, so that the field keeps its own annotation
    """The default of a field whose value is a plugin: the name of an option of the field's group.

    `mlp: MlpConfig = option("gelu")` in an architecture means `architecture/mlp=gelu` unless the
    user chooses another. If the config is built directly, the field has no default value.
    """
    return field(default=MISSING, metadata={"option": name})


@dataclass
class PluginConfig:
    """Base of every config that chooses a plugin."""

    @property
    def teacher(self) -> str | None:
        """The run folder of a teacher model that this plugin uses, such as `run`; None if none."""
        return None

    @property
    def rereads(self) -> Mapping[str, str | None]:
        """The run folders whose data this plugin reads again, by the knobs that name them."""
        return {}


@dataclass
class ObjectiveConfig(PluginConfig):
    """Base config of the group `objective`: the training objective."""

    @property
    def task(self) -> "ObjectiveConfig":
        """The objective that defines the network's task: this one, or its teacher's."""
        return self

    @property
    def idle(self) -> Mapping[str, int]:
        """Numbers of steps at the start that do not train the network, by the knobs that say so."""
        return {}

    @property
    def around(self) -> tuple[str, str] | None:
        """Roles of the tokens before and after each text; None = what the tokenizer writes."""
        return None

    def check(self, architecture: "ArchitectureConfig") -> None:
        """Raises ValueError for an architecture it cannot train despite its capabilities."""


@dataclass
class ComparisonConfig(ObjectiveConfig):
    """Base config of objectives that compare passes of networks, in which dropout is noise."""

    dropout: float = 0.0
    """Dropout of the network and its adapters in this run, in [0, 1); overrides their own. Above 0,
    two passes of the same policy differ: log-ratios are not 0 at the start."""

    def __post_init__(self) -> None:
        require(0 <= self.dropout < 1, f"dropout must be in [0, 1), got {self.dropout}")


@dataclass
class CorruptionConfig(PluginConfig):
    """Base config of the group `objective/corruption`: text corruption for denoising."""


@dataclass
class MaskingConfig(PluginConfig):
    """Base config of the group `objective/masking`: which tokens are masked and predicted."""


@dataclass
class ArchitectureConfig(PluginConfig):
    """Base config of the group `architecture`: the network."""

    dim: int = 128
    """Width of the residual stream; a multiple of `n_heads`."""
    n_layers: int = 4
    """Number of blocks; in an encoder-decoder, of each stack."""
    n_heads: int = 4
    """Attention heads per layer."""
    dropout: float = 0.0
    """Dropout probability of embeddings and residual branches, in [0, 1). Typical: 0-0.1."""

    def __post_init__(self) -> None:
        for name in ("dim", "n_layers", "n_heads"):
            value = getattr(self, name)
            require(value >= 1, f"{name} must be at least 1, got {value}")
        require(
            self.n_layers <= MAX_LAYERS,
            f"n_layers must be at most {MAX_LAYERS:,}, got {self.n_layers}",
        )
        require(
            self.dim % self.n_heads == 0,
            f"dim must be a multiple of n_heads, got dim={self.dim} and n_heads={self.n_heads}",
        )
        require(0 <= self.dropout < 1, f"dropout must be in [0, 1), got {self.dropout}")


@dataclass
class AdapterConfig(PluginConfig):
    """Base config of the group `adapter`: trainable parts added to a frozen network."""

    @property
    def n_virtual_tokens(self) -> int:
        """Number of positions that it inserts before the text, such as soft prompts."""
        return 0

    def peft_format(self) -> Any:  # a `PeftFormat`, which imports torch
        """The `PeftFormat` that converts it to PEFT's format; None if PEFT does not support it."""
        return None


@dataclass
class TokenizerConfig(PluginConfig):
    """Base config of the group `tokenizer`."""


@dataclass
class TemplateConfig(PluginConfig):
    """Base config of the group `template`: chat templates."""


@dataclass
class NewTokenizerConfig(TokenizerConfig):
    """Base config of the tokenizers that étude makes, which reserve special tokens."""

    n_sentinels: int = N_SENTINELS
    """Sentinel tokens to reserve, at least 100; objective/corruption=span needs one per span."""

    def __post_init__(self) -> None:
        require(
            N_SENTINELS <= self.n_sentinels <= MAX_VOCAB_SIZE,
            f"n_sentinels must be {N_SENTINELS} to {MAX_VOCAB_SIZE:,}, got {self.n_sentinels}",
        )


@dataclass
class TrainedTokenizerConfig(NewTokenizerConfig):
    """Base config of the tokenizers that are trained on the data."""

    vocab_size: int = 4096
    """Vocabulary size in tokens, including special tokens; a small corpus may yield fewer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.vocab_size <= MAX_VOCAB_SIZE,
            f"vocab_size must be at most {MAX_VOCAB_SIZE:,}, got {self.vocab_size}",
        )


@dataclass
class DataConfig(PluginConfig):
    """Base config of the group `data`: sources of records."""

    seq_len: int = 256
    """Longest sequence given to the network, in tokens."""
    val_fraction: float = 0.1
    """Fraction of records held out for validation, selected by a hash of their content; (0, 1)."""
    strict: bool = False
    """Stop with an error if any row is bad, instead of reporting bad rows and using the rest."""

    @property
    def reader(self) -> PluginConfig:
        """The config whose plugin declares the kind of record: this one, or that of a slot."""
        return self

    @property
    def parts(self) -> "Mapping[str, DataConfig]":
        """The sources of a mixture, by name; of other data, itself, without a name."""
        return {"": self}

    def __post_init__(self) -> None:
        require(
            2 <= self.seq_len <= LARGEST,
            f"seq_len must be 2 to {LARGEST:,}, got {self.seq_len}",
        )
        require(
            0 < self.val_fraction < 1,
            f"val_fraction must lie strictly between 0 and 1, got {self.val_fraction}",
        )


@dataclass
class RecordConfig(PluginConfig):
    """Base config of the group `data/record`: which record a row of named fields is read as."""


@dataclass
class TextDataConfig(DataConfig):
    """Base config of the data plugins that yield raw text."""

    pack: bool = True
    """Concatenate documents and cut them into rows of seq_len; false = truncate and pad each."""
    intra_document: bool = only_with("pack", False)
    """Restrict attention to tokens of the same document; positions then restart in each."""


@dataclass
class OptimizerConfig(PluginConfig):
    """Base config of the group `optimizer`."""

    lr: float = MISSING
    """Peak learning rate; if not given, the objective's default."""
    weight_decay: float = 0.0
    """Decoupled weight decay: matrices shrink by lr * weight_decay per step. Typical: 0-0.1."""
    groups: list[ParameterGroup] = field(default_factory=list[ParameterGroup])
    """Exceptions by name; the first match wins: [{pattern:"*.norm*",lr:0.1,weight_decay:0}]."""

    def __post_init__(self) -> None:
        require(self.lr > 0, f"lr must be positive, got {self.lr}")
        require(self.weight_decay >= 0, f"weight_decay must be 0 or more, got {self.weight_decay}")


@dataclass
class ScheduleConfig(PluginConfig):
    """Base config of the group `schedule`: the learning rate schedule."""

    warmup_steps: int | None = None
    """Steps of linear warmup from 0; null = min(100, 10 % of all steps)."""

    def __post_init__(self) -> None:
        require(
            self.warmup_steps is None or self.warmup_steps >= 0,
            f"warmup_steps must be 0 or more, got {self.warmup_steps}",
        )


@dataclass
class StrategyConfig(PluginConfig):
    """Base config of the group `strategy`: how devices share the work.

    A strategy without `max_devices` is also built with the longest wait of one rank for another.
    """


@dataclass
class LoggerConfig(PluginConfig):
    """Base config of the group `logger`: where metrics are logged."""


@dataclass
class CallbackConfig(PluginConfig):
    """Base config of the group `callback`: additional actions during training."""

    @property
    def watched(self) -> Mapping[str, str]:
        """The validation metrics that it reads, by the knobs that name them."""
        return {}

    def check(self, strategy: StrategyConfig) -> None:
        """Raises ConfigError if it cannot run with this strategy, or names what does not exist."""


@dataclass
class RewardConfig(PluginConfig):
    """Base config of the group `reward`: functions and models that score a completion."""

    weight: float = 1.0
    """Weight of this reward in the sum of all chosen rewards."""


@dataclass
class JudgeConfig(PluginConfig):
    """Base config of the group `judge`: decides which of two completions is better."""

    @property
    def compares_scores(self) -> bool:
        """Whether it compares the scores of the chosen rewards; otherwise it takes none."""
        return False
