"""Hydra's sweeper `optuna`: an Optuna sampler chooses each job from the results of earlier ones.

Hydra finds sweepers only in this namespace; the search itself is in `etude.experiments.search`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from ._etude_sweeper import EtudeSweeper, Launch


class Sampler(Enum):
    """How jobs are chosen."""

    tpe = "tpe"
    random = "random"
    grid = "grid"
    cmaes = "cmaes"


@dataclass
class OptunaConfig:
    """Config of `hydra/sweeper=optuna`."""

    _target_: str = "hydra_plugins.etude_optuna.OptunaSweeper"
    sampler: Sampler = Sampler.tpe
    """tpe, random, grid (each combination once) or cmaes (numeric parameters only)."""
    n_trials: int | None = None
    """Total number of jobs, including those of earlier commands; null = 20, or the whole grid."""
    n_parallel: int = 1
    """Number of jobs launched together; above 1, the launcher must support parallel jobs."""
    seed: int = 0
    """Random seed of the sampler; the jobs themselves use `seed`."""
    params: dict[str, str] = field(default_factory=dict[str, str])
    """Search space in Hydra's override grammar; the command line takes precedence."""


ConfigStore.instance().store(
    group="hydra/sweeper", name="optuna", node=OptunaConfig, provider="etude"
)


class OptunaSweeper(EtudeSweeper):
    """Asks an Optuna study for jobs, launches them and reports their metrics to the study."""

    def __init__(
        self,
        sampler: Sampler,
        n_trials: int | None,
        n_parallel: int,
        seed: int,
        params: dict[str, str],
    ) -> None:
        """Takes the fields of `OptunaConfig`, which Hydra passes; `search` reads them itself."""
        super().__init__()

    def search(self, config: DictConfig, arguments: Sequence[str], launch: Launch) -> None:
        from etude.experiments.search import search

        search(config, arguments, launch)
