"""Hydra's sweeper `optuna`: a sampler chooses the jobs by what those before them gave.

Hydra takes sweepers from this namespace alone; what it does stands in `etude.experiments.search`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class Sampler(Enum):
    """How jobs are chosen."""

    tpe = "tpe"
    random = "random"
    grid = "grid"
    cmaes = "cmaes"


@dataclass
class OptunaConfig:
    """What `hydra.sweeper` holds once `hydra/sweeper=optuna` is chosen."""

    _target_: str = "hydra_plugins.etude_optuna.OptunaSweeper"
    sampler: Sampler = Sampler.tpe
    """tpe, random, grid (each combination once) or cmaes (numbers only)."""
    n_trials: int | None = None
    """Jobs in all, those of earlier commands included; null = 20, or all combinations of a grid."""
    n_parallel: int = 1
    """Jobs given to the launcher at once; more than one needs a launcher for several."""
    seed: int = 0
    """Decides what the sampler draws; the jobs' own seed is `seed`."""
    params: dict[str, str] = field(default_factory=dict[str, str])
    """What is varied, in Hydra's grammar; the command line has the last word."""


ConfigStore.instance().store(
    group="hydra/sweeper", name="optuna", node=OptunaConfig, provider="etude"
)


class OptunaSweeper(Sweeper):
    """Asks a study for jobs, lets the launcher run them, and tells the study what they gave."""

    def __init__(
        self,
        sampler: Sampler,
        n_trials: int | None,
        n_parallel: int,
        seed: int,
        params: dict[str, str],
    ) -> None:
        """Hydra hands over what `search` reads from the config itself."""
        self.launcher: Launcher | None = None
        self.config: DictConfig | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Called by Hydra before `sweep`."""
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Called by Hydra with the overrides of the command line."""
        from etude.experiments.search import search

        assert self.config is not None
        assert self.launcher is not None
        launcher = self.launcher

        def launch(jobs: Sequence[Sequence[str]], first: int) -> None:
            for ended in launcher.launch(jobs, initial_job_idx=first):
                _ = ended.return_value  # raises what ended the job

        search(self.config, arguments, launch)
