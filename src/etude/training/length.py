"""The length of a run in optimizer steps, and what it means to change it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude.config.registry import build
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.trainer import TrainerConfig
from etude.errors import ConfigError
from etude.objective.step_size import StepSize, StepSizes

DEFAULT_STEPS = 600
LENGTHS = ("max_steps", "max_epochs", "max_tokens")
"""The keys of `trainer` that set the length of a run, and may change when it resumes."""
ALL_FULL = StepSizes(StepSize(1, 2))
"""Sizes without ramps, of which no unit matters."""
TOLERANCE = 0.01
"""Relative difference of two learning rates that is too small to mention."""


@dataclass(frozen=True)
class Epoch:
    """One pass over the training samples."""

    steps: float
    """Number of full steps."""
    tokens: float | None
    """Tokens without padding; None unless the samples are raw text."""
    sizes: StepSizes = ALL_FULL

    def n_steps(self, trainer: TrainerConfig) -> int:
        """Returns the number of steps of a run; the first of several limits applies."""
        lengths = [] if trainer.max_steps is None else [trainer.max_steps]
        if trainer.max_epochs is not None:
            lengths.append(self.sizes.n_steps(trainer.max_epochs * self.steps))
        if trainer.max_tokens is not None:
            assert self.tokens is not None, "compatibility.check rejects data without tokens"
            n_steps = trainer.max_tokens / self.tokens * self.steps
            lengths.append(self.sizes.n_steps(round(n_steps, 6)))  # a rounding error is no step
        return min(lengths, default=DEFAULT_STEPS)


def measured_epoch(summary: Mapping[str, Any], sizes: StepSizes = ALL_FULL) -> Epoch:
    """Returns the epoch of a finished run, with its mean number of tokens per full step."""
    steps = summary["steps_per_epoch"]
    last = summary["metrics"]
    return Epoch(steps, last["tokens"] / sizes.full_steps(int(last["step"])) * steps, sizes)


def refuse_passed(trainer: TrainerConfig, steps: int, reached: int, folder: Path) -> None:
    """Raises ConfigError if a run of this length ends before the step that it has reached."""
    if steps < reached:
        given = {name: vars(trainer)[name] for name in LENGTHS}
        asked = " ".join(f"trainer.{name}={value}" for name, value in given.items() if value)
        raise ConfigError(
            f"{asked or 'The default length'} ends the run at step {steps}, but {folder} is at "
            f"step {reached}.\n"
            f"  Nothing was changed. Give a length of at least {reached} steps, or start a new run "
            "in another folder."
        )


def rate_jump(
    config: ExperimentConfig, before: int, now: int, step: int
) -> tuple[float, float] | None:
    """Returns the learning rates of the next two steps, if a new length takes effect in between.

    The first is restored from the checkpoint. Returns None if the length makes no difference.
    """
    old, new = (build(config.schedule, n) for n in (before, now))
    if math.isclose(old(step), new(step), rel_tol=TOLERANCE):
        return None
    return config.optimizer.lr * old(step), config.optimizer.lr * new(step + 1)
