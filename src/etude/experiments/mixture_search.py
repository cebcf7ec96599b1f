"""Searches the weights of a mixture: trials, a law of their losses, and a run at its optimum.

The trials are known before the first one runs, and the optimum is a pure function of their results,
so that a repeated command runs only what is missing.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from omegaconf import DictConfig

from etude.errors import ConfigError
from etude.experiments.job import Launch, State, read_jobs
from etude.experiments.leaderboard import table_line
from etude.experiments.mixing_law import MixingLaw, fit_law, n_unknowns, trial_weights
from etude.experiments.recipe import recipe
from etude.experiments.search_space import SearchSpace, parse_overrides, search_space
from etude.files.atomic import write_atomic
from etude.files.run_folder import read_summary

KEY = "data.weights"
PAGE = "mixture.md"
RECIPE = "optimum.yaml"


@dataclass(frozen=True)
class MixtureSearch:
    """What is tried, and the sum of held-out losses that is minimised."""

    space: SearchSpace
    """The trials: weights and, if they are repeated, seeds."""
    sources: tuple[str, ...]
    weights: Float[np.ndarray, "trials sources"]
    targets: Float[np.ndarray, " sources"]
    """Weight of each source's held-out loss; they add up to 1."""
    equal_share: float

    @property
    def n_repeats(self) -> int:
        """The number of seeds of each trial."""
        return len(self.space.jobs()) // len(self.weights)

    def at(self, weights: Float[np.ndarray, " sources"]) -> list[tuple[str, ...]]:
        """The jobs, one for each seed, of a trial with these weights."""
        others = {key: one for key, one in self.space.swept.items() if key != KEY}
        fixed = (*self.space.fixed, f"{KEY}={as_mapping(self.sources, weights)}")
        return replace(self.space, fixed=fixed, swept=others).jobs()


@dataclass(frozen=True)
class Measured:
    """The weights and held-out losses of jobs with consecutive numbers."""

    numbers: range
    weights: Float[np.ndarray, "jobs sources"]
    losses: Float[np.ndarray, "jobs sources"]


def mixture_search(
    verb: str, overrides: Sequence[str], chosen: DictConfig, data: DictConfig
) -> MixtureSearch:
    """The search that the `chosen` settings of the sweeper describe, for this data.

    Raises ConfigError if it is invalid.
    """
    space = search_space(verb, overrides, chosen)
    sources = tuple(map(str, data.get("sources") or ()))
    _refuse_unsuitable(space, chosen, data, sources)
    needed = n_unknowns(len(sources))
    n_trials = 2 * needed if chosen.n_trials is None else chosen.n_trials
    if n_trials < needed:
        raise ConfigError(
            f"hydra.sweeper.n_trials={n_trials} is too few: the law of each loss has {needed} "
            f"unknowns for {len(sources)} sources.\n"
            f"  Choose {needed} or more; {2 * needed} leave some to estimate its error."
        )
    weights = trial_weights(len(sources), n_trials, chosen.equal_share, chosen.seed)
    listed = ",".join(as_mapping(sources, row) for row in weights)
    (varied,) = parse_overrides(verb, [f"{KEY}=choice({listed})"])
    targets = np.array([(chosen.targets or dict.fromkeys(sources, 1)).get(s, 0) for s in sources])
    return MixtureSearch(
        replace(space, swept={KEY: varied, **space.swept}),
        sources,
        weights,
        targets / targets.sum(),
        chosen.equal_share,
    )


def _refuse_unsuitable(
    space: SearchSpace, chosen: DictConfig, data: DictConfig, sources: Sequence[str]
) -> None:
    """Raises ConfigError for data without weights, other swept keys and impossible settings."""
    if not sources:
        raise ConfigError(
            "hydra/sweeper=mixture searches the weights of data=mixture, and this data has no "
            "sources.\n  Add data=mixture with data/sources=[...], or experiment=mixture."
        )
    for key in ("budgets", "phases"):
        if data[key]:
            raise ConfigError(
                f"data.{key}: hydra/sweeper=mixture searches constant weights of all sources.\n"
                f"  Remove data.{key}."
            )
    others = [key for key in space.swept if key != "seed"]
    others += [KEY for item in space.fixed if item.lstrip("+").startswith(KEY)]
    if others:
        raise ConfigError(
            f"{others[0]}: hydra/sweeper=mixture varies {KEY} itself, and only seed besides it.\n"
            f"  Remove {others[0]}, or give it one value."
        )
    unknown = ", ".join(chosen.targets.keys() - {*sources})
    values = [*chosen.targets.values()] or [1.0]
    if unknown or min(values) < 0 or max(values) == 0:
        raise ConfigError(
            f"hydra.sweeper.targets={chosen.targets} must be numbers of 0 or more, not all 0, for "
            f"some of the sources ({', '.join(sources)})."
        )
    if not 0 <= chosen.equal_share < 1:
        raise ConfigError(f"hydra.sweeper.equal_share must be in [0, 1), got {chosen.equal_share}.")


def search(config: DictConfig, arguments: Sequence[str], launch: Launch) -> None:
    """Runs the trials and a check of the optimum, and writes `mixture.md` and `optimum.yaml`."""
    hydra = config.hydra
    folder, verb = Path(hydra.sweep.dir), str(hydra.job.config_name)
    found = mixture_search(verb, arguments, hydra.sweeper, config.data)
    jobs = found.space.jobs()
    launch(jobs, 0)
    weights = np.repeat(found.weights, found.n_repeats, axis=0)
    trials = measured(folder, found.sources, weights, 0)
    if trials is None:
        print("no law is fitted, because not all trials are finished", file=sys.stderr)
        return
    try:
        law = fit_law(trials.weights, trials.losses)
    except ValueError as error:
        raise ConfigError(f"hydra/sweeper=mixture cannot fit its law: {error}.") from error
    optimum = law.optimum(found.targets, found.equal_share)
    check_jobs = found.at(optimum)
    first = first_number(folder, check_jobs, len(jobs))
    launch(check_jobs, first)
    repeated = np.repeat(optimum[None], found.n_repeats, axis=0)
    text = page(found, law, trials, measured(folder, found.sources, repeated, first))
    write_atomic(folder / PAGE, text)
    header = [f"Purpose: the optimum of a mixture, predicted and checked in {folder / PAGE}."]
    write_atomic(folder / RECIPE, recipe(verb, check_jobs[0], header))
    print(text)


def first_number(folder: Path, jobs: Sequence[Sequence[str]], start: int) -> int:
    """The number of the first of the jobs at an optimum: that of an earlier command, or a new one.

    The same trials have another optimum for other targets.
    """
    recorded = {one.job: one.overrides for one in read_jobs(folder)}
    weights = next(item for item in jobs[0] if item.startswith(f"{KEY}="))
    free = range(start, start + len(recorded) + 1, len(jobs))
    return next(k for k in free if weights in recorded.get(k, [weights]))


def measured(
    folder: Path, sources: Sequence[str], weights: Float[np.ndarray, "jobs sources"], first: int
) -> Measured | None:
    """The losses of the jobs with these weights, from number `first` on; None if one has failed.

    Raises ConfigError if a job did not report the loss of a source.
    """
    numbers = range(first, first + len(weights))
    ended = {one.job for one in read_jobs(folder) if one.state is State.finished}
    if not ended.issuperset(numbers):
        return None
    losses: list[list[float]] = []
    for number in numbers:
        metrics = (read_summary(folder / str(number)) or {"metrics": {}})["metrics"]
        row = {f"val/{name}/loss": metrics.get(f"val/{name}/loss", math.nan) for name in sources}
        if missing := [name for name, value in row.items() if math.isnan(value)]:
            raise ConfigError(
                f"Job {number} did not report {missing[0]}, which this search minimises.\n"
                "  Increase trainer.val_samples or data.val_fraction."
            )
        losses.append([*row.values()])
    return Measured(numbers, weights, np.array(losses))


def page(found: MixtureSearch, law: MixingLaw, trials: Measured, check: Measured | None) -> str:
    """A Markdown page of the optimum, and of the measured and predicted losses of each job."""
    optimum = law.optimum(found.targets, found.equal_share)
    predicted = f"{found.targets @ law.losses(optimum):.4f} predicted"
    result = f"{predicted}; its run failed"
    if check is not None:
        values = ", ".join(f"{value:.4f}" for value in check.losses @ found.targets)
        result = f"{predicted}, {values} measured"
    sums = trials.losses @ found.targets
    errors = law.losses(trials.weights) @ found.targets - sums
    n_free = len(sums) - n_unknowns(len(found.sources))
    error = f"{math.sqrt(np.square(errors).sum() / n_free):.4f}" if n_free else "unknown"
    by_trial = sums.reshape(len(found.weights), -1).mean(axis=1)
    goal = " + ".join(
        f"{t:.3g} {name}" for t, name in zip(found.targets, found.sources, strict=True)
    )
    names = [*found.sources, *(f"loss of {name}" for name in found.sources)]
    jobs = [*_rows(found, law, trials), *(_rows(found, law, check, " (optimum)") if check else [])]
    lines = [
        f"Optimum: `{KEY}={as_mapping(found.sources, optimum)}`\n",
        f"Held-out loss ({goal}) there: {result}. Best trial: {by_trial.min():.4f}; equal weights: "
        f"{by_trial[len(found.sources)]:.4f}. Standard error of the law: {error}.\n",
        "Weights, and measured (predicted) held-out losses:\n",
        table_line(["job", *names, "sum"]),
        table_line(["---"] * (len(names) + 2)),
        *(table_line(row) for row in jobs),
    ]
    return "\n".join(lines) + "\n"


def _rows(found: MixtureSearch, law: MixingLaw, jobs: Measured, label: str = "") -> list[list[str]]:
    """The number, weights, losses and sum of each job."""

    def with_sum(losses: Float[np.ndarray, "jobs sources"]) -> Float[np.ndarray, "jobs columns"]:
        return np.column_stack([losses, losses @ found.targets])

    values, predictions = with_sum(jobs.losses), with_sum(law.losses(jobs.weights))
    return [
        [
            f"{number}{label}",
            *(f"{weight:.3f}" for weight in weights),
            *(f"{a:.3f} ({b:.3f})" for a, b in zip(*both, strict=True)),
        ]
        for number, weights, *both in zip(
            jobs.numbers, jobs.weights, values, predictions, strict=True
        )
    ]


def as_mapping(sources: Sequence[str], weights: Float[np.ndarray, " sources"]) -> str:
    """The weights as they are typed, such as `{docs:0.25,code:0.75}`."""
    pairs = zip(sources, weights, strict=True)
    return "{" + ",".join(f"{name}:{weight:.4f}" for name, weight in pairs) + "}"
