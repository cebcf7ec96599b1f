"""Estimates the wall time and memory of a run from a few of its steps on this machine.

The steps are an ordinary run in a temporary folder. The first step and the first checkpoint are
warmup; the time of a checkpoint or a validation shows up in the step that follows it.
"""

import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from pathlib import Path

from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.on_policy import OnPolicyConfig
from etude.data.corpus import Corpus
from etude.errors import EtudeError
from etude.files.json_file import read_json
from etude.files.run_folder import TOKENIZER, step_lines
from etude.formats.checkpoint import write_sealed_folder
from etude.planning.forecast import Forecast
from etude.planning.trial import FILE
from etude.training.inputs import save_inputs

N_VALIDATED = 32
"""Number of held-out samples in the timed validation."""


@dataclass(frozen=True)
class Calibration:
    """Measured times in seconds and memory in bytes of a few steps."""

    step_s: float
    save_s: float
    sample_s: float
    """Seconds to validate one held-out sample."""
    process: int
    """Peak memory of the process, including Python and libraries."""
    before: int
    """Memory of Python and libraries before training."""

    @property
    def training(self) -> int:
        """Memory that training added."""
        return self.process - self.before


class TrialFailedError(EtudeError):
    """The calibration steps of a plan failed."""


def calibrate(config: ExperimentConfig, corpus: Corpus, plan: Forecast, n: int) -> Calibration:
    """Trains `n` plain steps and a few more. Raises TrialFailedError with the run's output."""
    cycle = _cycle(config)
    saved = next(
        i for i in count(max(3, (n + 7) // 3)) if len({k % cycle for k in plain_steps(i)}) == cycle
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
        schedule = replace(config.schedule, warmup_steps=None)  # not longer than these few steps
        short = replace(
            config, trainer=trainer, schedule=schedule, run=folder, ramp={}, logger={}, callback={}
        )
        write_sealed_folder(Path(folder, TOKENIZER), corpus.tokenizer.save)
        save_inputs(short, corpus, Path(folder))
        command = [sys.executable, "-m", "etude.planning.trial", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise TrialFailedError(
                f"The {steps} calibration steps failed with exit code "
                f"{done.returncode}:\n{done.stderr.strip()[-2000:]}\n"
                "  calibrate=0 plans without calibration."
            )
        seconds = [line["seconds"] for line in step_lines(Path(folder))]
        memory = read_json(Path(folder) / FILE)
    return phase_times(seconds, n_val, memory, cycle)


def phase_times(
    seconds: Sequence[float], n_val: int, memory: dict[str, int], cycle: int = 1
) -> Calibration:
    """Derives the time of a step, a checkpoint and a validation from the end times of steps.

    Of 3n + 1 steps, every nth saves a checkpoint and every (n + 1)th validates; the next step's
    time includes it. The first checkpoint is slow; of two events the faster one counts. Steps one
    rollout cycle apart do the same work.
    """
    took = [after - before for before, after in pairwise((0.0, *seconds))]
    n = len(took) // 3
    saving = (2 * n, 3 * n)
    validating = (n + 1, 2 * n + 2)
    usual = [_mean([took[i] for i in plain_steps(n) if i % cycle == k]) for k in range(cycle)]
    save_s, val_s = (
        max(0.0, min(took[i] - usual[i % cycle] for i in event)) for event in (saving, validating)
    )
    return Calibration(
        step_s=_mean(usual),
        save_s=save_s,
        sample_s=val_s / n_val,
        process=memory["process"],
        before=memory["before"],
    )


def plain_steps(n: int) -> list[int]:
    """Returns the steps, from 0, of 3n + 1 without warmup, checkpoint or validation time."""
    return [i for i in range(1, 3 * n) if i % n and i % (n + 1)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _cycle(config: ExperimentConfig) -> int:
    """Returns the number of steps from one rollout to the next."""
    objective = config.objective
    if isinstance(objective, OnPolicyConfig):
        return objective.batches_per_rollout * objective.epochs
    return 1


def seconds_of(
    config: ExperimentConfig, plan: Forecast, n_held_out: int, times: Calibration
) -> float:
    """Returns the seconds of the whole run: steps, validations and checkpoints."""
    tenth = max(1, math.ceil(plan.steps / 10))
    trainer = config.trainer
    validations = math.ceil(plan.steps / (trainer.val_every or tenth))
    saves = math.ceil(plan.steps / (trainer.save_every or tenth))
    n_val = min(n_held_out, trainer.val_samples or n_held_out)
    validation_s = validations * n_val * times.sample_s
    return plan.steps * times.step_s + validation_s + saves * times.save_s
