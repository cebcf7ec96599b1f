"""From what was composed to a run: checked as a whole, then started."""

from collections.abc import Sequence
from pathlib import Path

from etude.compatibility import check
from etude.composition import Composition
from etude.config_file import typed
from etude.experiment import ExperimentConfig
from etude.resume import inherited


def validated(composed: Composition, overrides: Sequence[str]) -> ExperimentConfig:
    """The typed experiment, its parent's parts taken over; refused if it does not fit together."""
    config = inherited(typed(composed.config), overrides)
    check(config, composed.choices.get("architecture") if config.init_from is None else None)
    return config


def begin(config: ExperimentConfig, experiment: str, overrides: Sequence[str]) -> Path:
    """Trains in the run folder; returns it."""
    from etude.worker import start  # torch and Lightning: only once nothing can be refused any more

    return start(config, experiment, list(overrides))


def experiment_of(composed: Composition) -> str:
    """The name of the recipe that was chosen."""
    return composed.choices.get("experiment") or "default"
