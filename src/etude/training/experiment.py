"""Turns a composed config into a typed and validated experiment; imports no torch."""

from collections.abc import Sequence
from pathlib import Path

from etude.config.compatibility import check
from etude.config.composition import Composition
from etude.config.config_file import load_config, to_experiment
from etude.config.schema.experiment import ExperimentConfig
from etude.files.run_folder import CONFIG
from etude.training.continuation import inherit_from_parent, resumed_config


def validate_experiment(composed: Composition, overrides: Sequence[str]) -> ExperimentConfig:
    """Returns the typed experiment with its parent's parts. Raises ConfigError if incompatible."""
    return _new(to_experiment(composed.config), composed, overrides)


def read_experiment(
    composed: Composition, overrides: Sequence[str], *, checked: bool = True
) -> tuple[ExperimentConfig, Path | None]:
    """Returns the experiment that a command shows, and its folder if `run` names an existing run.

    A run is shown as it was started: an override that differs from its config is a ConfigError,
    and so is a new experiment with incompatible parts, unless `checked` is false.
    """
    config = to_experiment(composed.config)
    if config.run is not None and Path(config.run, CONFIG).exists():
        folder = Path(config.run)
        return resumed_config(load_config(folder), config, overrides), folder
    if checked:
        return _new(config, composed, overrides), None
    return inherit_from_parent(config, overrides), None


def _new(
    config: ExperimentConfig, composed: Composition, overrides: Sequence[str]
) -> ExperimentConfig:
    config = inherit_from_parent(config, overrides)
    check(config, composed.choices.get("architecture") if config.init_from is None else None)
    return config
