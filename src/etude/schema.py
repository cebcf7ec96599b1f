"""The typed shape of an experiment: the root, and the base of each group's configs.

A plugin's config derives from its group's base and stands beside its code; fields here are
those every member of a group shares. The names of the fields are the names on the command line.
"""

from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, get_args, get_type_hints

from omegaconf import MISSING


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


@dataclass
class ObjectiveConfig(PluginConfig):
    """Base of what is learned: the group `objective`."""


@dataclass
class CorruptionConfig(PluginConfig):
    """Base of how a text is damaged for denoising: the group `objective/corruption`."""


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
class BlockConfig(PluginConfig):
    """Base of how a layer joins its parts: the group `architecture/block`."""


@dataclass
class MixerConfig(PluginConfig):
    """Base of what mixes positions: the group `architecture/mixer`."""


@dataclass
class MlpConfig(PluginConfig):
    """Base of the feed-forward part: the group `architecture/mlp`."""


@dataclass
class NormConfig(PluginConfig):
    """Base of the normalisation: the group `architecture/norm`."""


@dataclass
class PositionConfig(PluginConfig):
    """Base of how order is told: the group `architecture/position`."""

    max_positions: int | None = None
    """Longest sequence that can be told apart, in tokens; null = no limit."""

    def __post_init__(self) -> None:
        require(
            self.max_positions is None or self.max_positions >= 1,
            f"max_positions must be at least 1 or null, got {self.max_positions}",
        )


@dataclass
class StackConfig(ArchitectureConfig):
    """Base of architectures made of blocks: each part is a choice of its own."""

    block: BlockConfig = MISSING
    mixer: MixerConfig = MISSING
    mlp: MlpConfig = MISSING
    norm: NormConfig = MISSING
    position: PositionConfig = MISSING
    tie: bool = True
    """Share one table between the embedding and the head."""
    init_std: float = 0.02
    """Standard deviation of the initial weights; the last of a branch / sqrt(2 n_layers)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.init_std > 0, f"init_std must be positive, got {self.init_std}")


@dataclass
class TokenizerConfig(PluginConfig):
    """Base of the tokenizer: the group `tokenizer`."""


@dataclass
class TrainedTokenizerConfig(TokenizerConfig):
    """Base of the tokenizers that are trained on the data."""

    vocab_size: int = 4096
    """Number of ids in all, the reserved special tokens included; a small corpus may give fewer."""


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
    confine: bool = False
    """Let tokens attend only within their own document; positions then restart in each."""


@dataclass
class OptimizerConfig(PluginConfig):
    """Base of the optimizer: the group `optimizer`."""

    lr: float = MISSING
    """Peak learning rate; when not given, the objective's own."""

    def __post_init__(self) -> None:
        require(self.lr > 0, f"lr must be positive, got {self.lr}")


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
class DecodingConfig(PluginConfig):
    """Base of how the next token is chosen: the group `decoding`."""


class NonFinite(Enum):
    """What to do when a loss or gradient is NaN or infinite."""

    stop = "stop"
    skip = "skip"


PRECISIONS = ("32", "64", "bf16-mixed", "bf16-true", "16-mixed")


@dataclass
class TrainerConfig:
    """How long, how large, how often. Not a plugin: every experiment has these."""

    max_steps: int | None = None
    """Optimizer steps; null = 600, unless max_epochs or max_tokens is given."""
    max_epochs: float | None = None
    """Passes over the training samples; of several lengths given, the shortest holds."""
    max_tokens: int | None = None
    """Tokens shown to the network, padding excluded; a length like max_epochs."""
    global_batch: int = 32
    """Samples (rows, pairs, completions) in one optimizer step, over all devices."""
    micro_batch: int | None = None
    """Samples in one forward pass on one device; null = the largest that fits."""
    devices: int = 1
    """Devices, or processes on a CPU."""
    accelerator: str = "auto"
    """auto, cpu, gpu or mps."""
    precision: str = "32"
    """Number format: 32, 64, bf16-mixed, bf16-true or 16-mixed."""
    clip: float | None = 1.0
    """Largest norm of the gradient; null = never clipped."""
    non_finite: NonFinite = NonFinite.stop
    """On a NaN or infinite loss or gradient: stop the run, or skip the step and count it."""
    val_every: int | None = None
    """Steps between validations; null = ten in a run. The last step is always validated."""
    val_samples: int | None = None
    """Held-out samples in a validation; null = all."""
    save_every: int | None = None
    """Steps between checkpoints; null = ten in a run. The last step is always saved."""
    keep: int = 2
    """Checkpoints kept, newest first."""
    log_every: int = 10
    """Steps between updates of the progress bar and the trackers (steps.jsonl has every step)."""
    compile: bool = False
    """Compile the network with torch.compile."""

    def __post_init__(self) -> None:
        for name in (
            "max_steps", "max_epochs", "max_tokens", "global_batch", "micro_batch", "devices",
            "clip", "val_every", "val_samples", "save_every", "keep", "log_every",
        ):  # fmt: skip
            value = getattr(self, name)
            require(value is None or value > 0, f"{name} must be positive, got {value}")
        require(
            self.precision in PRECISIONS,
            f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision}",
        )
        accelerators = ("auto", "cpu", "gpu", "mps")
        require(
            self.accelerator in accelerators,
            f"accelerator must be one of {', '.join(accelerators)}, got {self.accelerator}",
        )
        per_device = self.global_batch // self.devices
        require(
            self.global_batch % self.devices == 0
            and (self.micro_batch is None or per_device % self.micro_batch == 0),
            "global_batch must be a multiple of devices x micro_batch, got "
            f"global_batch={self.global_batch}, devices={self.devices}, "
            f"micro_batch={self.micro_batch}",
        )


@dataclass
class ExperimentConfig:
    """Everything a run is made of."""

    objective: ObjectiveConfig = MISSING
    architecture: ArchitectureConfig = MISSING
    tokenizer: TokenizerConfig = MISSING
    data: DataConfig = MISSING
    optimizer: OptimizerConfig = MISSING
    schedule: ScheduleConfig = MISSING
    strategy: StrategyConfig = MISSING
    decoding: DecodingConfig = MISSING
    reward: dict[str, RewardConfig] = field(default_factory=dict)
    logger: dict[str, LoggerConfig] = field(default_factory=dict)
    callback: dict[str, CallbackConfig] = field(default_factory=dict)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    seed: int = 0
    """Decides initial weights, order of data, masks, dropout and samples."""
    run: str | None = None
    """The run folder: written, or resumed if it holds a run; null = outputs/<experiment>/<time>."""
    init_from: str | None = None
    """A finished run whose network and tokenizer this one starts from."""


def children(config_type: type) -> dict[str, type[PluginConfig]]:
    """The fields of a config class that hold a plugin's config, by name; dicts by their values."""
    hints: dict[str, Any] = get_type_hints(config_type)
    found: dict[str, type[PluginConfig]] = {}
    for item in fields(config_type):
        for candidate in (hints[item.name], *get_args(hints[item.name])):
            if isinstance(candidate, type) and issubclass(candidate, PluginConfig):
                found[item.name] = candidate
    return found
