"""The global batch grows linearly: small, frequent steps at first, less noise later.

Brown et al. 2020 (GPT-3), https://arxiv.org/abs/2005.14165, section 2.3; McCandlish et al. 2018,
https://arxiv.org/abs/1812.06162, on why: the gradient noise grows while the loss falls. It grows
by `start` samples at a time. The samples and their order are those of a run without the ramp.
"""

from dataclasses import dataclass, replace

from etude import plugin, require
from etude.config import ArchitectureConfig, DataConfig, RampConfig, TrainerConfig
from etude.objective import Ramp, StepSize


@dataclass
class BatchConfig(RampConfig):
    start: int = 2
    """Samples of the first steps, over all devices: at most trainer.global_batch, a multiple of
    trainer.devices."""
    steps: int = 1000
    """Steps until trainer.global_batch; at most the steps of the run."""

    def check(
        self, trainer: TrainerConfig, data: DataConfig, architecture: ArchitectureConfig
    ) -> None:
        full = trainer.global_batch
        devices = trainer.devices
        require(self.start <= full, f"start must be at most {full}, got {self.start}")
        require(
            self.start % devices == 0,
            f"start must be a multiple of trainer.devices={devices}, got {self.start}",
        )


@plugin(BatchConfig, example={"steps": 3})
def batch(config: BatchConfig) -> Ramp:
    """Start + (global_batch - start) step / steps, rounded down to a multiple of start."""

    def size_at(step: int, size: StepSize) -> StepSize:
        if step >= config.steps:
            return size
        grown = config.start + (size.samples - config.start) * step / config.steps
        return replace(size, samples=config.start * int(grown / config.start))

    return size_at
