"""The global batch doubles at equal intervals until it is full.

(Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass, replace

from etude import plugin, require
from etude.config import ArchitectureConfig, DataConfig, RampConfig, TrainerConfig
from etude.objective import Ramp, StepSize


@dataclass
class SketchConfig(RampConfig):
    start: int = 2
    """Samples of the first steps, over all devices; a multiple of trainer.devices."""
    every: int = 1
    """Steps between doublings."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.every >= 1, f"every must be at least 1, got {self.every}")

    def check(
        self, trainer: TrainerConfig, data: DataConfig, architecture: ArchitectureConfig
    ) -> None:
        """Raises ValueError for an experiment in which it cannot work."""
        devices = trainer.devices
        require(self.start % devices == 0, f"start must be a multiple of {devices} devices")


@plugin(SketchConfig)
def sketch(config: SketchConfig) -> Ramp:
    """Returns (step, its size) -> its size with start 2^k samples after k intervals."""

    def size_at(step: int, size: StepSize) -> StepSize:
        n_doublings = min(step, config.steps) // config.every
        return replace(size, samples=min(size.samples, config.start * 2**n_doublings))

    return size_at
