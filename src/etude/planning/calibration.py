"""How long a run will take and what it holds, from a few of its own steps on this machine.

The steps are an ordinary run in a folder that is gone afterwards. The first warms up; then `n`
are plain, one also saves a checkpoint before it, and the last also validates.
"""

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from etude import config_file
from etude.errors import EtudeError
from etude.experiment import ExperimentConfig
from etude.planning.forecast import Forecast
from etude.planning.trial import FILE
from etude.rollout import OnPolicyConfig
from etude.run_files import STEPS

N_VALIDATED = 32
"""Held-out samples that are timed."""


@dataclass(frozen=True)
class Calibration:
    """What a few steps took; memory in bytes."""

    step_s: float
    save_s: float
    sample_s: float
    """Of validating one held-out sample."""
    process: int
    """The most that the process held, Python and libraries included."""
    before: int
    """What Python and libraries held before."""

    @property
    def held(self) -> int:
        """What training added."""
        return self.process - self.before


class TrialFailedError(EtudeError):
    """The few real steps of a plan came to no end."""


def calibrate(config: ExperimentConfig, plan: Forecast, n: int) -> Calibration:
    """Trains `n` steps and three more. Raises TrialFailedError with what the run said."""
    n = math.ceil(max(2, n) / (cycle := _cycle(config))) * cycle
    n_val = min(N_VALIDATED, config.trainer.val_samples or N_VALIDATED)
    with tempfile.TemporaryDirectory() as folder:
        trainer = replace(
            config.trainer,
            max_steps=n + 3,
            max_epochs=None,
            max_tokens=None,
            micro_batch=plan.micro_batch,
            val_every=n + 3,
            val_samples=n_val,
            save_every=n + 1,
        )
        short = replace(config, trainer=trainer, run=folder, logger={}, callback={})
        config_file.save(short, Path(folder))
        command = [sys.executable, "-m", "etude.planning.trial", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise TrialFailedError(
                f"The {n + 3} steps that were to be timed ended with exit code "
                f"{done.returncode}:\n{done.stderr.strip()[-2000:]}\n"
                "  calibrate=0 plans without them."
            )
        lines = (Path(folder) / STEPS).read_text(encoding="utf-8").splitlines()
        held = json.loads((Path(folder) / FILE).read_text(encoding="utf-8"))
    return timed([json.loads(line)["seconds"] for line in lines], n_val, held, cycle)


def timed(
    seconds: Sequence[float], n_val: int, held: dict[str, int], cycle: int = 1
) -> Calibration:
    """Reads a step, a save and a validation off when each step ended."""
    took = [after - before for before, after in pairwise(seconds)]
    *plain, saving, validating = took
    mean = sum(plain) / len(plain)
    return Calibration(
        step_s=mean,
        save_s=max(0.0, saving - (mean if cycle == 1 else plain[0])),
        sample_s=max(0.0, validating - (mean if cycle == 1 else plain[1])) / n_val,
        process=held["process"],
        before=held["before"],
    )


def _cycle(config: ExperimentConfig) -> int:
    """Steps from one rollout to the next."""
    objective = config.objective
    if isinstance(objective, OnPolicyConfig):
        return objective.windows_per_rollout * objective.epochs
    return 1


def seconds_of(
    config: ExperimentConfig, plan: Forecast, n_held_out: int, one: Calibration
) -> float:
    """Seconds of the whole run: its steps, validations and checkpoints."""
    tenth = max(1, math.ceil(plan.steps / 10))
    given = config.trainer
    validations = math.ceil(plan.steps / (given.val_every or tenth))
    saves = math.ceil(plan.steps / (given.save_every or tenth))
    n_val = min(n_held_out, given.val_samples or n_held_out)
    return plan.steps * one.step_s + validations * n_val * one.sample_s + saves * one.save_s
