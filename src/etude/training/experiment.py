"""From what was composed to a typed experiment that fits together."""

from collections.abc import Sequence

from etude.config.compatibility import check
from etude.config.composition import Composition
from etude.config.config_file import typed
from etude.config.schema.experiment import ExperimentConfig
from etude.training.resume import inherited


def validated(composed: Composition, overrides: Sequence[str]) -> ExperimentConfig:
    """The typed experiment, its parent's parts taken over; refused if it does not fit together."""
    config = inherited(typed(composed.config), overrides)
    check(config, composed.choices.get("architecture") if config.init_from is None else None)
    return config
