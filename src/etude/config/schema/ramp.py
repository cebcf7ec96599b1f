"""Base config of the group `ramp`: sizes of a step that grow while a run trains."""

from dataclasses import dataclass

from etude.config.schema.plugins import ArchitectureConfig, DataConfig, PluginConfig, require
from etude.config.schema.trainer import TrainerConfig


@dataclass
class RampConfig(PluginConfig):
    """Base config of the group `ramp`: sizes of a step that grow while a run trains."""

    start: int = 1
    """Size of the first step."""
    steps: int = 1000
    """Steps until the full size; at most the steps of the run."""

    def __post_init__(self) -> None:
        for name in ("start", "steps"):
            value = vars(self)[name]
            require(value >= 1, f"{name} must be at least 1, got {value}")

    def check(
        self, trainer: TrainerConfig, data: DataConfig, architecture: ArchitectureConfig
    ) -> None:
        """Raises ValueError for an experiment in which it cannot work, or has no effect."""
