"""What étude's sweepers have in common; Hydra imports no module whose name begins with `_`."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from etude.experiments.job import Launch


class EtudeSweeper(Sweeper):
    """A sweeper whose jobs may depend on the results of earlier ones."""

    def __init__(self) -> None:
        self.launcher: Launcher | None = None
        self.config: DictConfig | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Creates the launcher; Hydra calls this before `sweep`."""
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Runs the search with the overrides of the command line."""
        assert self.config is not None
        assert self.launcher is not None
        launcher = self.launcher

        def launch(jobs: Sequence[Sequence[str]], first: int) -> None:
            for job in launcher.launch(jobs, initial_job_idx=first):
                _ = job.return_value  # raises the exception of a failed job

        self.search(self.config, arguments, launch)

    @abstractmethod
    def search(self, config: DictConfig, arguments: Sequence[str], launch: Launch) -> None:
        """Runs the jobs of the sweep that a config, including Hydra's settings, describes."""
