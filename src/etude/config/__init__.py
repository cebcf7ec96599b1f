"""Plugin configs, and what plugins declare before they are built."""

from etude.config.capabilities import capabilities_of, has_windows, max_positions_of
from etude.config.config_file import config_of_parent, load_config
from etude.config.record_kind import kind_of, text_config
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
    StreamConfig,
)
from etude.config.schema.decoding import DecodingConfig, GeneratorConfig
from etude.config.schema.environment import EnvironmentConfig
from etude.config.schema.evaluation import EvaluatorConfig
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.filter import FilterConfig
from etude.config.schema.plugins import (
    AdapterConfig,
    ArchitectureConfig,
    CallbackConfig,
    ComparisonConfig,
    CorruptionConfig,
    DataConfig,
    JudgeConfig,
    LoggerConfig,
    MaskingConfig,
    NewTokenizerConfig,
    ObjectiveConfig,
    OptimizerConfig,
    PluginConfig,
    RecordConfig,
    RewardConfig,
    ScheduleConfig,
    StrategyConfig,
    TemplateConfig,
    TextDataConfig,
    TokenizerConfig,
    TrainedTokenizerConfig,
)
from etude.config.schema.prompting import PromptingConfig, ScorerConfig
from etude.config.schema.ramp import RampConfig
from etude.config.schema.trainer import Best, TrainerConfig
