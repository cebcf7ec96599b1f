"""The typed shape of an experiment: the root of the config.

The names of the fields are the names on the command line.
"""

from dataclasses import dataclass, field

from omegaconf import MISSING

from etude.config.schema.plugins import (
    AdapterConfig,
    ArchitectureConfig,
    CallbackConfig,
    DataConfig,
    DecodingConfig,
    LoggerConfig,
    ObjectiveConfig,
    OptimizerConfig,
    RewardConfig,
    ScheduleConfig,
    StrategyConfig,
    TemplateConfig,
    TokenizerConfig,
    require,
)
from etude.config.schema.trainer import TrainerConfig

SEEDS = 2**63
"""Seeds are whole numbers from 0, below this."""


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
    template: TemplateConfig | None = None
    """How conversations are written; null = as the tokenizer has it, or in étude's own way."""
    adapter: dict[str, AdapterConfig] = field(default_factory=dict)
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

    def __post_init__(self) -> None:
        require(0 <= self.seed < SEEDS, f"seed must be 0 to 2**63 - 1, got {self.seed}")
        for name in ("run", "init_from"):
            require(getattr(self, name) != "", f"{name} names no folder: it is empty")
