"""Trains a network: any objective, any architecture, from a tokenizer to a run folder.

The last line on stdout is the run folder. With run=<folder> a run that stopped goes on.
"""

import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from etude import composition
from etude.cli import page
from etude.command_line import CommandLine, prepare
from etude.compatibility import check
from etude.composition import Composition
from etude.config_file import typed
from etude.errors import ConfigError, EtudeError, PreemptedError
from etude.experiment import ExperimentConfig
from etude.resume import inherited

VERB = "train"


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    line = prepare(arguments)
    if composition.inquire(VERB, line):
        return 0
    composition.refuse_inert(line)
    if line.multirun:
        return _sweep(line)
    composed = composition.compose(VERB, line.overrides)
    config = validated(composed, line.overrides)
    folder, _ = _start(config, composed, list(line.overrides), None)
    print(folder, flush=True)
    return 0


def validated(composed: Composition, overrides: Sequence[str]) -> ExperimentConfig:
    """The typed experiment, its parent's parts taken over; refused if it does not fit together."""
    config = inherited(typed(composed.config), overrides)
    check(config, composed.choices.get("architecture") if config.init_from is None else None)
    return config


def _start(
    config: ExperimentConfig, composed: Composition, overrides: list[str], sweep: Path | None
) -> tuple[Path, float | None]:
    from etude.worker import start  # torch and Lightning: only once nothing can be refused any more

    return start(config, _experiment(composed), overrides, sweep)


def _experiment(composed: Composition) -> str:
    return composed.choices.get("experiment") or "default"


def _sweep(line: CommandLine) -> int:
    """Checks every job, then lets Hydra launch them; one that fails stops no other."""
    folder = _check_jobs(line.overrides)
    failed: dict[int, int] = {}

    def job(config: DictConfig) -> float | None:
        hydra = HydraConfig.get()
        number = int(hydra.job.num)
        composed = Composition(config, dict(hydra.runtime.choices))
        try:
            given = list(hydra.overrides.task)
            experiment = replace(validated(composed, given), run=str(folder / str(number)))
            run, metric = _start(experiment, composed, given, folder)
        except PreemptedError as error:
            raise SystemExit(error.exit_code) from error  # no further job is to start
        except Exception as error:
            failed[number] = error.exit_code if isinstance(error, EtudeError) else 1
            with suppress(OSError):  # Hydra makes the folder before the job can refuse
                (folder / str(number)).rmdir()
            _report(number, error)
            raise
        print(run, flush=True)
        return metric

    overrides = (*line.overrides, f"hydra.sweep.dir='{folder}'")
    try:
        composition.run_hydra(VERB, replace(line, overrides=overrides), job)
    except Exception:
        if not failed:
            raise
    if failed:
        print(f"jobs that failed: {', '.join(map(str, sorted(failed)))}", file=sys.stderr)
        return next(iter(failed.values()))
    print(folder, flush=True)
    return 0


def _check_jobs(overrides: tuple[str, ...]) -> Path:
    """Refuses the sweep if any of its jobs would be; returns its folder, not yet made."""
    jobs = composition.jobs(VERB, overrides)
    for job in jobs:
        composition.check_names(VERB, job)
    names: set[str] = set()
    run: str | None = None
    for number, job in enumerate(jobs):
        composed = composition.compose(VERB, job)
        try:
            run = validated(composed, job).run
        except ConfigError as error:
            own = " ".join(item for item in job if not all(item in other for other in jobs))
            raise type(error)(f"job {number} ({own}): {error}") from error
        names.add(_experiment(composed))
    name = names.pop() if len(names) == 1 else "sweep"
    return Path(run or f"outputs/{name}/{time.strftime('%Y-%m-%d_%H-%M-%S')}").resolve()


def _report(number: int, error: Exception) -> None:
    if isinstance(error, EtudeError):
        print(f"job {number}: {page(error)}", file=sys.stderr)
    else:
        print(f"job {number}:", file=sys.stderr)
        traceback.print_exception(error)
