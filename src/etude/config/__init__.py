"""Plugin configs, and what plugins declare before they are built."""

from etude.config.compatibility import capabilities_of, max_positions_of
from etude.config.config_file import config_of_parent, load_config
from etude.config.registry import build, plugin_of
from etude.config.schema.blocks import (
    BlockConfig,
    HeadConfig,
    HeadsConfig,
    InitConfig,
    MixerConfig,
    MlpConfig,
    NormConfig,
    PositionConfig,
    ScalingConfig,
    StackConfig,
)
from etude.config.schema.environment import EnvironmentConfig
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.plugins import (
    AdapterConfig,
    ArchitectureConfig,
    CallbackConfig,
    ComparisonConfig,
    CorruptionConfig,
    DataConfig,
    DecodingConfig,
    JudgeConfig,
    LoggerConfig,
    MaskingConfig,
    NewTokenizerConfig,
    ObjectiveConfig,
    OptimizerConfig,
    RewardConfig,
    ScheduleConfig,
    StrategyConfig,
    TemplateConfig,
    TextDataConfig,
    TokenizerConfig,
    TrainedTokenizerConfig,
)
from etude.config.schema.trainer import Best
