"""Hydra's sweeper `mixture`: trials of a mixture's weights, and a run at the predicted optimum.

Hydra finds sweepers only in this namespace; the rest is in `etude.experiments.mixture_search`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from ._etude_sweeper import EtudeSweeper, Launch


@dataclass
class MixtureSweepConfig:
    """Config of `hydra/sweeper=mixture`."""

    _target_: str = "hydra_plugins.etude_mixture.MixtureSweeper"
    n_trials: int | None = None
    """Number of weights that are tried, at least sources + 1; null = 2 (sources + 1)."""
    targets: dict[str, float] = field(default_factory=dict[str, float])
    """Weight of each source's held-out loss in what is minimised; {} = their mean."""
    equal_share: float = 0.2
    """Share of every trial, and of the optimum, that is divided equally among the sources, in
    [0, 1). 0 = also trials without a source, whose loss the law fits poorly. Typical: 0.1-0.3."""
    seed: int = 0
    """Random seed of the trials' weights; the jobs themselves use `seed`."""
    params: dict[str, str] = field(default_factory=dict[str, str])
    """Seeds to repeat each trial with, such as {seed: "0,1"}; the command line takes precedence."""


_config = OmegaConf.structured(MixtureSweepConfig)
OmegaConf.set_struct(_config.targets, False)  # otherwise Hydra refuses the name of a source
ConfigStore.instance().store(group="hydra/sweeper", name="mixture", node=_config, provider="etude")


class MixtureSweeper(EtudeSweeper):
    """Launches the trials, fits a law to their losses, and launches a run at its optimum."""

    def __init__(
        self,
        n_trials: int | None,
        targets: dict[str, float],
        equal_share: float,
        seed: int,
        params: dict[str, str],
    ) -> None:
        """Takes the fields of its config, which Hydra passes; the search reads them itself."""
        super().__init__()

    def search(self, config: DictConfig, arguments: Sequence[str], launch: Launch) -> None:
        from etude.experiments.mixture_search import search

        search(config, arguments, launch)
