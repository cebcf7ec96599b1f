"""Configs of `etude evaluate`, and the base config of the group `evaluator`."""

from dataclasses import dataclass, field
from enum import Enum

from omegaconf import MISSING

from etude.config.schema.decoding import DecodingConfig
from etude.config.schema.experiment import SEEDS
from etude.config.schema.generation import PromptConfig
from etude.config.schema.plugins import DataConfig, PluginConfig, require
from etude.config.schema.prompting import PromptingConfig, ScorerConfig


@dataclass
class EvaluatorConfig(PluginConfig):
    """Base config of the group `evaluator`: what is measured of a model, record by record."""


class Split(Enum):
    """Which records of the data are evaluated."""

    auto = "auto"
    validation = "validation"
    train = "train"
    all = "all"


class Precision(Enum):
    """The floating-point type of an evaluation."""

    float64 = "float64"
    float32 = "float32"


@dataclass
class EvaluationConfig(PromptConfig):
    """Config of `etude evaluate`."""

    run: str = MISSING
    """The model: a run folder or a Hugging Face folder."""
    evaluator: dict[str, EvaluatorConfig] = field(default_factory=dict[str, EvaluatorConfig])
    data: DataConfig = MISSING
    prompting: PromptingConfig = MISSING
    scorer: ScorerConfig = MISSING
    decoding: DecodingConfig = MISSING
    split: Split = Split.auto
    """The records to evaluate: validation, train or all; auto = all records of files other than
    those that the run was trained on, and the validation split of any other data."""
    n_items: int | None = None
    """Evaluate n_items records, sampled by a hash of their content; null = all."""
    max_new_tokens: int = 64
    """Maximum length of a completion, in tokens."""
    batch_size: int = 16
    """Rows of a forward pass. Affects speed and memory, and no digit of the result."""
    precision: Precision = Precision.float64
    """float64 = the same result, to the last digit, for any batch_size; float32 = faster and half
    the memory, with differences of about 1e-5 between batch sizes."""
    seed: int = 0
    """Random seed of sampling and of randomly selected examples."""
    out: str | None = None
    """The result file; null = evaluations/<task>.json in the run folder."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_items", "max_new_tokens", "batch_size"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name} must be at least 1, got {value}")
        require(0 <= self.seed < SEEDS, f"seed must be 0 to 2**63 - 1, got {self.seed}")
        require(self.out != "", "out must be a file, got an empty string")
