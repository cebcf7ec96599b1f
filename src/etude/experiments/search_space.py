"""The search space of a sweep: swept overrides of the command line and of `conf/sweep/`.

Both use Hydra's grammar: `a,b`, choice(...), range(...), interval(...), tag(log, ...).
"""

import itertools
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import DictConfig

from etude.config.composition import VERSION, explain_errors, sweeper
from etude.config.hydra_source import register
from etude.config.plugin_files import configurations
from etude.errors import ConfigError, MissingExtraError

LAUNCHERS = ("joblib", "submitit")
"""Launchers that need the extra of the same name."""


@dataclass(frozen=True)
class SearchSpace:
    """The overrides that all jobs share, and those that vary."""

    fixed: tuple[str, ...]
    swept: dict[str, Override]
    is_search: bool
    """Whether a sampler chooses the jobs; otherwise all combinations run."""

    def jobs(self) -> list[tuple[str, ...]]:
        """Returns the overrides of each job if all combinations run."""
        values = [strings(override) for override in self.swept.values()]
        return [(*self.fixed, *job) for job in itertools.product(*values)]

    def corners(self) -> list[tuple[str, ...]]:
        """Returns override lists that contain every listed value and every end of an interval."""
        values = [strings(override) for override in self.swept.values()]
        n = max(map(len, values), default=1)
        return [(*self.fixed, *(one[k % len(one)] for one in values)) for k in range(n)]


def search_space(verb: str, overrides: Sequence[str], chosen: DictConfig) -> SearchSpace:
    """Returns the joint space of the overrides and of the `chosen` sweeper's `params`."""
    given = parse_overrides(verb, overrides)
    swept_by_file = (chosen.get("params") or {}).items()
    params = parse_overrides(verb, [f"{key}={value}" for key, value in swept_by_file])
    items = {item.get_key_element(): item for item in (*params, *given)}.values()
    fixed = tuple(str(item.input_line) for item in items if not item.is_sweep_override())
    swept = {item.get_key_element(): item for item in items if item.is_sweep_override()}
    space = SearchSpace(fixed, swept, "sampler" in chosen)
    for item in swept.values():
        if not item.is_discrete_sweep() and not space.is_search:
            raise ConfigError(
                f"{item.input_line}: an interval needs a sampler, and none is configured.\n"
                "  Add hydra/sweeper=optuna, or choose a search space such as sweep=lr."
            )
    return space


def chosen_sweeper(verb: str, overrides: Sequence[str]) -> DictConfig:
    """Returns the sweeper that the overrides choose, with all its settings."""
    given = parse_overrides(verb, overrides)
    for item in given:
        if item.is_sweep_override() and item.key_or_group == "sweep":
            raise ConfigError(f"{item.input_line} names several search spaces; choose one.")
        if item.key_or_group == "hydra/launcher":
            _refuse_missing_launcher(str(item.value()))
    return sweeper(verb, [str(item.input_line) for item in given if not item.is_sweep_override()])


def _refuse_missing_launcher(launcher: str) -> None:
    extra = launcher.partition("_")[0]
    if extra in LAUNCHERS and find_spec(f"hydra_plugins.hydra_{extra}_launcher") is None:
        raise MissingExtraError(
            f"hydra/launcher={launcher} needs hydra-{extra}-launcher, which is not installed.\n"
            f"  Install it with: pip install 'etude[{extra}]'."
        )


def parse_overrides(verb: str, overrides: Sequence[str]) -> list[Override]:
    """Returns the overrides as Hydra parses them."""
    register()
    if GlobalHydra.instance().is_initialized():  # Hydra is sweeping
        loader = nullcontext()
    else:
        loader = hydra.initialize_config_dir(str(configurations()[0]), verb, VERSION)
    with explain_errors(overrides), loader:
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())
        return list(parser.parse_overrides(list(overrides)))


def strings(override: Override) -> list[str]:
    """Returns each value of a swept override as an override; for an interval, its ends."""
    key = override.get_key_element()
    value = override.value()
    if isinstance(value, IntervalSweep):
        return [f"{key}={value.start}", f"{key}={value.end}"]
    return [f"{key}={one}" for one in override.sweep_string_iterator()]


def refuse_unsearchable(space: SearchSpace, chosen: DictConfig) -> None:
    """Raises for an invalid search: nothing to vary, a missing library, an unsuitable sampler."""
    sampler = chosen.sampler.value
    if not space.swept:
        raise ConfigError(
            "hydra/sweeper=optuna: no override varies.\n"
            "  Give values, such as 'optimizer.lr=tag(log, interval(1e-4, 1e-2))', or a search "
            "space, such as sweep=lr."
        )
    needed = ("optuna", "cmaes") if sampler == "cmaes" else ("optuna",)
    for library in needed:
        if find_spec(library) is None:
            raise MissingExtraError(
                f"hydra/sweeper=optuna with the sampler {sampler} needs {library}, which is not "
                "installed.\n  Install it with: pip install 'etude[sweep]'."
            )
    intervals = [item for item in space.swept.values() if not item.is_discrete_sweep()]
    if sampler == "grid" and intervals:
        raise ConfigError(
            f"hydra.sweeper.sampler=grid cannot enumerate {intervals[0].input_line}.\n"
            "  List the values with choice(...) or range(...), or choose tpe, random or cmaes."
        )
    numbers = [item for item in space.swept.values() if not item.is_choice_sweep()]
    if sampler == "cmaes" and len(numbers) < max(2, len(space.swept)):
        raise ConfigError(
            "hydra.sweeper.sampler=cmaes needs at least two numeric keys, each an "
            "interval(...) or a range(...), and no others.\n"
            f"  Swept: {', '.join(str(item.input_line) for item in space.swept.values())}.\n"
            "  The samplers tpe, random and grid accept any values."
        )
