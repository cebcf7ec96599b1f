"""Turns a composed config into a typed and validated experiment."""

from collections.abc import Sequence

from etude.config.compatibility import check
from etude.config.composition import Composition
from etude.config.config_file import to_experiment
from etude.config.schema.experiment import ExperimentConfig
from etude.training.resume import inherit_from_parent


def validate_experiment(composed: Composition, overrides: Sequence[str]) -> ExperimentConfig:
    """Returns the typed experiment with its parent's parts. Raises ConfigError if incompatible."""
    config = inherit_from_parent(to_experiment(composed.config), overrides)
    check(config, composed.choices.get("architecture") if config.init_from is None else None)
    return config
