"""Hyperparameter search with Optuna.

Akiba et al. 2019, https://arxiv.org/abs/1907.10902. The study is stored as a journal in the sweep
folder. The sampler of each trial is seeded by its number, so an interrupted study proposes the
same trials as an uninterrupted one. A job that failed or was killed stays open and runs first when
the command is run again. A job whose loss diverged counts as complete.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import optuna
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from numpy.random import SeedSequence
from omegaconf import DictConfig
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)
from optuna.samplers import BaseSampler, CmaEsSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import TrialState

from etude.config.schema.trainer import Best
from etude.errors import ConfigError, NonFiniteError
from etude.experiments.job import JobRecord, Launch, State, read_jobs
from etude.experiments.leaderboard import METRIC, value_of
from etude.experiments.search_space import SearchSpace, search_space
from etude.files.run_folder import read_summary
from etude.files.sweep_folder import metric_curve

JOURNAL = "study.journal"
NAME = "sweep"
N_TRIALS = 20


@dataclass(frozen=True)
class Search:
    """A study, its search space, and the validation metric it optimizes."""

    folder: Path
    space: SearchSpace
    settings: DictConfig
    """The settings of the sweeper."""
    metric: str
    study: Study
    storage: JournalStorage

    def run(self, launch: Launch) -> None:
        """Runs the open trials, then new ones until the requested number is reached."""
        waiting = self._unfinished_trials()
        while waiting:
            n = _n_consecutive(waiting[: self.settings.n_parallel])
            self._launch(waiting[:n], launch)
            waiting = waiting[n:]
        while numbers := self._new_trials():
            self._launch(numbers, launch)

    def _new_trials(self) -> list[int]:
        """Returns the numbers of new trials, as many as run in parallel; empty at the end."""
        found: list[int] = []
        while len(found) < self.settings.n_parallel and (number := self._new_trial()) is not None:
            found.append(number)
        return found

    def _new_trial(self) -> int | None:
        trials = self.study.get_trials(deepcopy=False)
        valid = [trial for trial in trials if trial.state != TrialState.FAIL]
        if self.settings.sampler.value == "grid":
            tried = [trial.params for trial in valid]
            left = [job for job in self._grid() if job not in tried]
            if not left or len(valid) >= (self.settings.n_trials or math.inf):
                return None
            self.study.enqueue_trial(left[0])
        elif len(valid) >= (self.settings.n_trials or N_TRIALS):
            return None
        else:
            self.study.sampler = sampler(self.settings, len(trials))
        return self.study.ask(distributions(self.space)).number

    def _grid(self) -> list[dict[str, object]]:
        values = [list(values_of(override)) for override in self.space.swept.values()]
        return [dict(zip(self.space.swept, job, strict=True)) for job in product(*values)]

    def _unfinished_trials(self) -> list[int]:
        """Returns the unfinished trials; discards one whose sampling was interrupted."""
        found: list[int] = []
        for trial in self.study.get_trials(states=(TrialState.RUNNING,)):
            if trial.params.keys() == self.space.swept.keys():
                found.append(trial.number)
            else:
                self.study.tell(trial.number, state=TrialState.FAIL)
        return found

    def _launch(self, numbers: Sequence[int], launch: Launch) -> None:
        trials = self.study.get_trials(deepcopy=False)
        jobs = [
            [*self.space.fixed, *(f"{key}={value}" for key, value in trials[n].params.items())]
            for n in numbers
        ]
        launch(jobs, numbers[0])
        ended = {one.job: one for one in read_jobs(self.folder)}
        for number in numbers:
            if number in ended:
                self._report_result(ended[number])

    def _report_result(self, record: JobRecord) -> None:
        """Reports the result of a trial to the study; leaves a failed trial open."""
        place = self.folder / str(record.job)
        value = value_of(read_summary(place), self.metric)
        if record.exit_code == NonFiniteError.exit_code:
            self.study.tell(record.job, state=TrialState.PRUNED)
        elif record.state is State.pruned:
            self._report_curve(record.job, metric_curve(place, self.metric))
            self.study.tell(record.job, state=TrialState.PRUNED)
        elif record.state is State.finished:
            if value is None or math.isnan(value):
                raise ConfigError(
                    f"Job {record.job} did not report {self.metric}, the metric of this search.\n"
                    "  Choose another with trainer.keep_best, such as val/loss."
                )
            self.study.tell(record.job, value)

    def _report_curve(self, number: int, values: Mapping[int, float]) -> None:
        study = self.storage.get_study_id_from_name(NAME)
        trial = self.storage.get_trial_id_from_study_id_trial_number(study, number)
        for step, value in values.items():
            self.storage.set_trial_intermediate_value(trial, step, value)


def search(config: DictConfig, arguments: Sequence[str], launch: Launch) -> None:
    """Runs the study that a sweep's config, including Hydra's settings, describes."""
    hydra = config.hydra
    trainer = config.trainer
    space = search_space(str(hydra.job.config_name), arguments, hydra.sweeper)
    folder = Path(hydra.sweep.dir)
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    study = optuna.create_study(
        storage=storage,
        study_name=NAME,
        direction="maximize" if trainer.best is Best.highest else "minimize",
        load_if_exists=True,
    )
    _refuse_other_space(study, space)
    Search(folder, space, hydra.sweeper, trainer.keep_best or METRIC, study, storage).run(launch)


def sampler(settings: DictConfig, number: int) -> BaseSampler:
    """Returns the sampler of the trial with this number."""
    seed = int(SeedSequence((settings.seed, number)).generate_state(1)[0])  # decorrelates seeds
    if settings.sampler.value == "cmaes":
        return CmaEsSampler(seed=seed, independent_sampler=RandomSampler(seed=seed))
    if settings.sampler.value == "random":
        return RandomSampler(seed=seed)
    return TPESampler(seed=seed, constant_liar=settings.n_parallel > 1)


def _refuse_other_space(study: Study, space: SearchSpace) -> None:
    """Raises ConfigError if the study has a different space; intervals may change."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
        try:
            if trial.distributions.keys() != space.swept.keys():
                raise ValueError(f"it varied {', '.join(trial.distributions)}")
            for key, now in distributions(space).items():
                check_distribution_compatibility(trial.distributions[key], now)
        except ValueError as error:
            raise ConfigError(
                f"The study in this folder has a different search space: {error}.\n"
                "  Choose another folder with run=<folder>."
            ) from error


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Returns the distribution of each key."""
    return {key: distribution(override) for key, override in space.swept.items()}


def distribution(override: Override) -> BaseDistribution:
    """Returns the distribution of a swept override."""
    value = override.value()
    if isinstance(value, IntervalSweep):
        low = value.start
        high = value.end
        log = "log" in value.tags
        assert low is not None
        assert high is not None
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=log)
        return FloatDistribution(low, high, log=log)
    if isinstance(value, RangeSweep):
        values = [one for one in values_of(override) if isinstance(one, int | float)]
        step = value.step
        if isinstance(values[0], int) and isinstance(step, int):
            return IntDistribution(values[0], int(values[-1]), step=step)
        return FloatDistribution(values[0], values[-1], step=step)
    return CategoricalDistribution([str(one) for one in values_of(override)])


def values_of(override: Override) -> Iterable[object]:
    """Returns the values of a discrete sweep: numbers for a range, otherwise as typed."""
    if isinstance(override.value(), RangeSweep):
        return override.sweep_iterator()
    return override.sweep_string_iterator()


def _n_consecutive(numbers: Sequence[int]) -> int:
    """Returns how many of the numbers are consecutive, from the first."""
    return next((k for k, n in enumerate(numbers) if n != numbers[0] + k), len(numbers))
