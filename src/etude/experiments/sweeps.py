"""Runs the jobs of a sweep: checks all of them first; a failed job does not stop the others.

The launcher decides where a job runs, so this process keeps no state: each job records its result
in the sweep folder. The same command with `run=<sweep folder>` runs the missing jobs.
"""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from etude.config import composition
from etude.config.command_line import CommandLine
from etude.config.composition import Composition
from etude.config.schema.experiment import ExperimentConfig
from etude.errors import (
    CheckpointError,
    ConfigError,
    EtudeError,
    InterruptedRunError,
    PreemptedError,
    page,
)
from etude.experiments.job import JobRecord, State, distinguishing_overrides, read_jobs
from etude.experiments.leaderboard import METRIC, publish, value_of
from etude.experiments.mixture_search import mixture_search
from etude.experiments.search_space import (
    SearchSpace,
    chosen_sweeper,
    refuse_unsearchable,
    search_space,
)
from etude.files.disk import disk_full_error
from etude.files.run_folder import CONFIG, LOCK, read_summary, run_lock
from etude.files.sweep_folder import PRUNED
from etude.processes import end_with_parent
from etude.training.experiment import validate_experiment

NOT_OF_JOB = ("run=", "trainer.accept_changes=")
"""Overrides that say how a job is run, not what it is."""


def sweep(verb: str, line: CommandLine) -> int:
    """Checks and launches every job, and shows the leaderboard; returns the exit code."""
    chosen = chosen_sweeper(verb, line.overrides)
    space = search_space(verb, line.overrides, chosen)
    if space.is_search:
        refuse_unsearchable(space, chosen)
    if "targets" in chosen:
        data = composition.compose(verb, space.fixed).config.data
        space = mixture_search(verb, line.overrides, chosen, data).space
    folder = _validate_jobs(verb, space)
    launched = replace(line, overrides=(*line.overrides, f"hydra.sweep.dir='{folder}'"))
    launcher_failed = False
    _create_folder(folder)
    with run_lock(folder, "swept by another command"):
        try:
            composition.run_hydra(verb, launched, _job_in(folder))
        except EtudeError:
            raise
        except SystemExit:  # a job was stopped by a signal, and saved
            publish(folder, verb)
            raise
        except Exception as error:  # a launcher lost its process or machine
            message = str(error).partition("\n")[0]
            print(f"the launcher failed: {type(error).__name__}: {message}", file=sys.stderr)
            launcher_failed = True
        publish(folder, verb)
    failed = [one for one in read_jobs(folder) if one.state in (State.failed, State.started)]
    if failed:
        numbers = ", ".join(str(one.job) for one in failed)
        print(f"failed jobs: {numbers}", file=sys.stderr)
    if failed or launcher_failed:
        print(f"To run the missing jobs, run the same command with run={folder}.", file=sys.stderr)
        return failed[0].exit_code or 1 if failed else 1
    print(folder, flush=True)
    return 0


def _validate_jobs(verb: str, space: SearchSpace) -> Path:
    """Raises ConfigError if any job is invalid; returns the sweep's folder, not yet created."""
    jobs = space.corners() if space.is_search else space.jobs()
    for job in jobs:
        composition.check_names(verb, job)
    distinct = distinguishing_overrides(dict(enumerate(jobs)))
    names: set[str] = set()
    run: str | None = None
    for number, job in enumerate(jobs):
        composed = composition.compose(verb, job)
        try:
            config = validate_experiment(composed, job)
            if config.run is not None and not space.is_search:
                is_finished(replace(config, run=f"{config.run}/{number}"), job)
        except (CheckpointError, ConfigError) as error:
            raise type(error)(f"job {number} ({' '.join(distinct[number])}): {error}") from error
        run = config.run
        names.add(composed.experiment)
    if run is not None and space.is_search:
        _refuse_other_settings(verb, space, Path(run))
    name = names.pop() if len(names) == 1 else "sweep"
    return Path(run or f"outputs/{name}/{time.strftime('%Y-%m-%d_%H-%M-%S')}").resolve()


def _refuse_other_settings(verb: str, space: SearchSpace, folder: Path) -> None:
    """Raises ConfigError if the folder's jobs have other settings: results do not compare."""
    from etude.training.resume import resumption

    for one in read_jobs(folder):
        place = folder / str(one.job)
        if (place / CONFIG).exists():
            keys = tuple(f"{key}=" for key in space.swept)
            job = [*space.fixed, *(item for item in one.overrides if item.startswith(keys))]
            config = validate_experiment(composition.compose(verb, job), job)
            found = resumption(replace(config, run=str(place)), job, place)
            if found.config != found.stored:
                raise ConfigError(
                    f"run={folder}: the jobs of this search were started with another length.\n"
                    "  Choose another folder with run=<folder>: their results do not compare."
                )
            return


def _create_folder(folder: Path) -> None:
    """Creates the folder of a sweep. Raises ConfigError if it is not writable."""
    try:
        with disk_full_error(folder):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / LOCK).touch()
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be created: {error.strerror}.\n"
            "  Choose another folder with run=<folder>."
        ) from error


def is_finished(config: ExperimentConfig, overrides: Sequence[str]) -> bool:
    """Returns whether `config.run` contains the finished run of `config`.

    Raises ConfigError if it contains a different run, CheckpointError if its inputs have changed.
    """
    from etude.training.resume import resumption

    place = Path(str(config.run))
    return (place / CONFIG).exists() and resumption(config, overrides, place).is_finished


def _job_in(folder: Path) -> Callable[[DictConfig], float | None]:
    """Returns the job function of a sweep, which may run in another process or machine."""
    launcher = os.getpid()

    def job(config: DictConfig) -> float | None:
        if os.getpid() != launcher:  # a job of joblib saves and stops if the sweep is killed
            end_with_parent(signal.SIGTERM)
        parent = os.getppid()
        hydra = HydraConfig.get()
        composed = Composition(config, dict(hydra.runtime.choices))
        try:
            return _run(folder, int(hydra.job.num), composed, list(hydra.overrides.task))
        except SystemExit:
            if os.getppid() != parent:  # an orphan of joblib would start the next job
                os._exit(PreemptedError.exit_code)
            raise

    return job


def _run(folder: Path, number: int, composed: Composition, overrides: list[str]) -> float | None:
    """Runs a job and records its result; returns the ranking metric, or None if it failed."""
    from etude.training.run import start

    place = folder / str(number)
    record = JobRecord(number, [item for item in overrides if not item.startswith(NOT_OF_JOB)])
    try:
        config = replace(validate_experiment(composed, overrides), run=str(place))
        if is_finished(config, overrides):
            print(f"{place} is finished; nothing to do.")
        else:
            record.save(folder)
            start(config, composed.experiment, overrides)
    except (PreemptedError, InterruptedRunError) as error:
        print(f"job {number}: {page(error)}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error  # starts no further job
    except Exception as error:
        _record(replace(record, state=State.failed), error, folder)
        return None
    state = State.pruned if (place / PRUNED).exists() else State.finished
    replace(record, state=state).save(folder)
    print(place, flush=True)
    return value_of(read_summary(place), config.trainer.keep_best or METRIC)


def _record(record: JobRecord, error: Exception, folder: Path) -> None:
    """Reports a failed job on the terminal and in the sweep folder; the first line says why."""
    known = isinstance(error, EtudeError)
    lines = [*traceback.format_exception_only(error), *traceback.format_exception(error)]
    text = page(error) if known else "".join(lines).rstrip()
    print(f"job {record.job}: {text}", file=sys.stderr)
    code = error.exit_code if known else 1
    replace(record, exit_code=code, error=text).save(folder)
    place = folder / str(record.job)
    if place.is_dir() and not any(place.iterdir()):
        place.rmdir()  # Hydra creates the folder before the job can fail
