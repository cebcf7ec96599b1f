"""The group `ramp`: the sizes of each step, as a pure function of its index."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

from etude.config.registry import build
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.trainer import MAX_STEPS
from etude.errors import ConfigError

N_CHECKED = 10_000
"""Maximum number of steps whose sizes are checked before a run."""


@dataclass(frozen=True)
class StepSize:
    """What one step trains on."""

    samples: int
    """Samples of the global batch."""
    length: int
    """Longest row of raw text, in tokens."""
    span: int | None = None
    """Attention window of all layers, in tokens; None = no limit."""


Ramp: TypeAlias = Callable[[int, StepSize], StepSize]
"""Returns the size of a step, from 0, given its size without this ramp. Must be pure."""


@dataclass(frozen=True)
class StepSizes:
    """The sizes of all steps of a run; a step without ramps is full."""

    full: StepSize
    ramps: Sequence[Ramp] = ()

    @classmethod
    def of(cls, config: ExperimentConfig) -> Self:
        """Returns the sizes that a config describes."""
        full = StepSize(config.trainer.global_batch, config.data.seq_len)
        return cls(full, [build(one) for one in config.ramp.values()])

    def at(self, step: int) -> StepSize:
        """Returns the size of a step, from 0."""
        size = self.full
        for ramp in self.ramps:
            size = ramp(step, size)
        return size

    def n_samples(self, steps: int) -> int:
        """Returns the number of samples in the first `steps` steps."""
        if not self.ramps:
            return steps * self.full.samples
        return sum(self.at(step).samples for step in range(steps))

    def full_steps(self, steps: int) -> float:
        """Returns the number of full steps with as many samples as the first `steps` steps."""
        return self.n_samples(steps) / self.full.samples if self.ramps else steps

    def n_steps(self, full_steps: float) -> int:
        """Returns the first number of steps with at least the samples of `full_steps` full ones."""
        if not self.ramps:
            return math.ceil(full_steps)
        steps = n_samples = 0
        while n_samples < full_steps * self.full.samples and steps <= MAX_STEPS:
            n_samples += self.at(steps).samples
            steps += 1
        return steps

    def refuse_invalid(self, names: Sequence[str], steps: int, devices: int) -> None:
        """Raises ConfigError for a size that no step can have, or a run that ends too early."""
        for step in range(0, steps if self.ramps else 0, 1 + steps // N_CHECKED):
            size = self.at(step)
            is_valid = (
                size.samples in range(devices, self.full.samples + 1, devices)
                and 2 <= size.length <= self.full.length
                and (size.span is None or size.span >= 1)
            )
            if not is_valid:
                raise ConfigError(
                    f"ramp=[{','.join(names)}]: step {step + 1} would have {size}.\n"
                    f"  Its samples must be a multiple of trainer.devices={devices}, and no size "
                    f"above the full one, {self.full}."
                )
        if self.at(steps - 1) != self.full:
            raise ConfigError(
                f"ramp=[{','.join(names)}]: in this run of {steps:,} steps, the last one has "
                f"{self.at(steps - 1)}, not {self.full}.\n"
                "  Choose fewer ramp steps, or a longer run."
            )
