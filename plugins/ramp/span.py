"""The attention window grows linearly: nearby tokens are learned from first.

As the window warmup of modded-nanogpt, https://github.com/KellerJordan/modded-nanogpt. Layers
with a smaller window of their own keep it. Validation and generation have no such limit: early on,
they use distances that were not trained.
"""

from dataclasses import dataclass, replace

from etude import plugin, require
from etude.config import ArchitectureConfig, DataConfig, RampConfig, TrainerConfig, has_windows
from etude.objective import Ramp, StepSize


@dataclass
class SpanConfig(RampConfig):
    start: int = 32
    """Window of the first steps, in tokens, and the size of its increments; below data.seq_len."""
    steps: int = 1000
    """Steps until attention is unlimited; at most the steps of the run."""

    def check(
        self, trainer: TrainerConfig, data: DataConfig, architecture: ArchitectureConfig
    ) -> None:
        length = data.seq_len
        require(
            has_windows(architecture),
            "it has no effect, because no mixer of this network has an attention window; "
            "remove it, or choose architecture/mixer=attention",
        )
        require(self.start < length, f"start must be below data.seq_len={length}, got {self.start}")


@plugin(SpanConfig, example={"steps": 3})
def span(config: SpanConfig) -> Ramp:
    """Start + (length - start) step / steps tokens, rounded down to a multiple of start."""

    def size_at(step: int, size: StepSize) -> StepSize:
        if step >= config.steps:
            return size
        grown = config.start + (size.length - config.start) * step / config.steps
        return replace(size, span=config.start * int(grown / config.start))

    return size_at
