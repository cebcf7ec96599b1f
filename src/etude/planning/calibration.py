"""How long a run will take and what it holds, from a few of its own steps on this machine.

The steps are an ordinary run in a folder that is gone afterwards. The first warms up, and so does
the first checkpoint; a checkpoint and a validation lengthen the step that comes behind them.
"""

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from pathlib import Path

from etude.config import config_file
from etude.config.schema.experiment import ExperimentConfig
from etude.errors import EtudeError
from etude.files.run_folder import STEPS
from etude.planning.forecast import Forecast
from etude.planning.trial import FILE
from etude.rl.rollout import OnPolicyConfig

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
    """Trains `n` plain steps and a few more. Raises TrialFailedError with what the run said."""
    cycle = _cycle(config)
    saved = next(
        i for i in count(max(3, (n + 7) // 3)) if len({k % cycle for k in plain(i)}) == cycle
    )
    steps = 3 * saved + 1
    n_val = min(N_VALIDATED, config.trainer.val_samples or N_VALIDATED)
    with tempfile.TemporaryDirectory() as folder:
        trainer = replace(
            config.trainer,
            max_steps=steps,
            max_epochs=None,
            max_tokens=None,
            micro_batch=plan.micro_batch,
            val_every=saved + 1,
            val_samples=n_val,
            save_every=saved,
        )
        short = replace(config, trainer=trainer, run=folder, logger={}, callback={})
        config_file.save_config(short, Path(folder))
        command = [sys.executable, "-m", "etude.planning.trial", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise TrialFailedError(
                f"The {steps} steps that were to be timed ended with exit code "
                f"{done.returncode}:\n{done.stderr.strip()[-2000:]}\n"
                "  calibrate=0 plans without them."
            )
        lines = (Path(folder) / STEPS).read_text(encoding="utf-8").splitlines()
        held = json.loads((Path(folder) / FILE).read_text(encoding="utf-8"))
    return timed([json.loads(line)["seconds"] for line in lines], n_val, held, cycle)


def timed(
    seconds: Sequence[float], n_val: int, held: dict[str, int], cycle: int = 1
) -> Calibration:
    """Reads a step, a save and a validation off when each step ended.

    Of 3n + 1 steps every nth saves a checkpoint and every n + 1st validates, which the step behind
    each shows. The first checkpoint is slow; of two events the less disturbed one counts. Steps a
    cycle apart do the same.
    """
    took = [after - before for before, after in pairwise((0.0, *seconds))]
    n = len(took) // 3
    saving = (2 * n, 3 * n)
    validating = (n + 1, 2 * n + 2)
    usual = [_mean([took[i] for i in plain(n) if i % cycle == k]) for k in range(cycle)]
    save_s, val_s = (
        max(0.0, min(took[i] - usual[i % cycle] for i in event)) for event in (saving, validating)
    )
    return Calibration(
        step_s=_mean(usual),
        save_s=save_s,
        sample_s=val_s / n_val,
        process=held["process"],
        before=held["before"],
    )


def plain(n: int) -> list[int]:
    """The steps, from 0, of 3n + 1 that show no start, no save and no validation."""
    return [i for i in range(1, 3 * n) if i % n and i % (n + 1)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


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
