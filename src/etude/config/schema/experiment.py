"""The root config of an experiment.

Field names are the names on the command line.
"""

from dataclasses import dataclass, field

from omegaconf import MISSING

from etude.config.schema.decoding import DecodingConfig, GeneratorConfig
from etude.config.schema.environment import EnvironmentConfig
from etude.config.schema.filter import FilterConfig
from etude.config.schema.plugins import (
    AdapterConfig,
    ArchitectureConfig,
    CallbackConfig,
    DataConfig,
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
from etude.config.schema.ramp import RampConfig
from etude.config.schema.trainer import TrainerConfig

SEEDS = 2**63
"""Seeds are integers in [0, SEEDS)."""


@dataclass
class ExperimentConfig:
    """The complete config of a run."""

    objective: ObjectiveConfig = MISSING
    architecture: ArchitectureConfig = MISSING
    tokenizer: TokenizerConfig = MISSING
    data: DataConfig = MISSING
    optimizer: OptimizerConfig = MISSING
    schedule: ScheduleConfig = MISSING
    strategy: StrategyConfig = MISSING
    decoding: DecodingConfig = MISSING
    generator: GeneratorConfig | None = None
    """How completions are generated; null = one token at a time, as in runs without this key."""
    template: TemplateConfig | None = None
    """Chat template of conversations; null = the tokenizer's, or étude's default if it has none."""
    filter: dict[str, FilterConfig] = field(default_factory=dict)
    adapter: dict[str, AdapterConfig] = field(default_factory=dict)
    ramp: dict[str, RampConfig] = field(default_factory=dict)
    reward: dict[str, RewardConfig] = field(default_factory=dict)
    environment: EnvironmentConfig | None = None
    """What replies to the policy in a rollout, such as a tool; null = nothing: a single turn."""
    logger: dict[str, LoggerConfig] = field(default_factory=dict)
    callback: dict[str, CallbackConfig] = field(default_factory=dict)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    tags: list[str] = field(default_factory=list[str])
    """Labels of the run, such as [baseline,long]: recorded, and given to the trackers."""
    seed: int = 0
    """Random seed of initial weights, data order, masking, dropout and sampling."""
    run: str | None = None
    """Run folder; a run already in it is resumed. null = outputs/<experiment>/<time>."""
    init_from: str | None = None
    """Model to start from, with its tokenizer: a run, Hugging Face or PEFT folder; null = none."""

    def __post_init__(self) -> None:
        require(0 <= self.seed < SEEDS, f"seed must be 0 to 2**63 - 1, got {self.seed}")
        for name in ("run", "init_from"):
            require(getattr(self, name) != "", f"{name} must be a folder, got an empty string")
