"""Composes configs with Hydra: the names first, from syntax trees, and only then the plugins.

A wrong name is refused before anything is imported; nothing here writes to disk.
"""

import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from etude.config.command_line import CommandLine
from etude.config.hydra_errors import explain
from etude.config.hydra_source import outlines, register
from etude.config.plugin_files import configurations
from etude.errors import ConfigError

VERSION = "1.3"
"""Of Hydra's behaviour, whatever is installed."""


@dataclass(frozen=True)
class Composition:
    """What Hydra made of the overrides, and the option chosen in each group."""

    config: DictConfig
    choices: Mapping[str, str]

    @property
    def experiment(self) -> str:
        """The name of the recipe that was chosen."""
        return self.choices.get("experiment") or "default"


def compose(verb: str, overrides: Sequence[str]) -> Composition:
    """Composes `conf/<verb>.yaml` with `overrides`. Raises ConfigError with the page to show."""
    with refusing(overrides):
        outline = check_names(verb, overrides)
        composed = _compose(verb, overrides)
        _refuse_loose(composed.config, outline.config, "")
        return composed


def check_names(verb: str, overrides: Sequence[str]) -> Composition:
    """Refuses options and keys that do not exist, without importing a plugin.

    Returns the values as they were written, before any type has been at them.
    """
    names = [override.lstrip("+") for override in overrides]
    with refusing(overrides), outlines():
        return _compose(verb, names)


def compose_one(verb: str, line: CommandLine) -> Composition | None:
    """Composes for a verb that looks at one experiment; None if the config itself is asked for."""
    if inquire(verb, line):
        return None
    if line.multirun:
        raise ConfigError(f"etude {verb} looks at one experiment, and -m asks for several.")
    refuse_inert(line)
    return compose(verb, line.overrides)


def inquire(verb: str, line: CommandLine) -> bool:
    """Lets Hydra answer if the line asks about the config (`--cfg`, `--info`); says if it did."""
    if line.inquiry:
        check_names(verb, line.overrides)
        run_hydra(verb, line, _never)
    return line.inquiry


def _never(config: DictConfig) -> None:
    raise AssertionError("Hydra was asked to show something, not to run")


def sweeper(verb: str, overrides: Sequence[str]) -> DictConfig:
    """What Hydra is told about the sweep: its sweeper, with all settings."""
    with refusing(overrides), outlines():
        return _hydras(verb, overrides).hydra.sweeper


def run_hydra(verb: str, line: CommandLine, task: Callable[[DictConfig], float | None]) -> None:
    """Runs `hydra.main` on the command line: sweeps, `--cfg`, `--info` and completions."""
    register()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra prints errors itself and exits
    main = hydra.main(version_base=VERSION, config_path=str(configurations()[0]), config_name=verb)
    with refusing(line.overrides), _argv([*line.flags, *line.overrides]):
        main(task)()


def refuse_inert(line: CommandLine) -> None:
    """Refuses those settings of Hydra itself that nothing here obeys."""
    ours = ("hydra.run.", "hydra.sweep.", "hydra.output_subdir", "hydra.mode")
    inert = ours
    reason = "run=<folder> says where to write, and -m asks for a sweep"
    if not line.multirun:
        inert = ("hydra.", "hydra/")
        reason = "Hydra's launchers and sweepers need -m"
    for override in line.overrides:
        if override.lstrip("+~").startswith(inert):
            raise ConfigError(f"{override} would have no effect.\n  Here {reason}.")


@contextmanager
def refusing(overrides: Sequence[str]) -> Generator[None]:
    """Turns what Hydra and OmegaConf raise into a ConfigError that says what would work."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        raise explain(error, overrides) from error


def _compose(verb: str, overrides: Sequence[str]) -> Composition:
    config = _hydras(verb, overrides)
    choices = dict(config.hydra.runtime.choices)
    with open_dict(config):
        del config["hydra"]
    return Composition(config, choices)


def _hydras(verb: str, overrides: Sequence[str]) -> DictConfig:
    """What Hydra composes, its own settings among it."""
    register()
    with hydra.initialize_config_dir(str(configurations()[0]), verb, VERSION):
        return hydra.compose(verb, list(overrides), return_hydra_config=True)


def _refuse_loose(typed: DictConfig, written: DictConfig, path: str) -> None:
    """Refuses 3, yes or on for a bool: OmegaConf would take each of them for true."""
    for key in typed:
        if OmegaConf.is_missing(typed, key) or key not in written:
            continue
        place = f"{path}.{key}" if path else str(key)
        value = typed[key]
        raw = written[key]
        if isinstance(value, DictConfig) and isinstance(raw, DictConfig):
            _refuse_loose(value, raw, place)
        elif isinstance(value, bool) and not isinstance(raw, bool | None):
            raise ConfigError(f"{place} must be true or false, got {raw}.")


@contextmanager
def _argv(arguments: list[str]) -> Generator[None]:
    """Hydra reads its command line from sys.argv and nowhere else."""
    before = sys.argv
    sys.argv = [Path(before[0]).name, *arguments]
    try:
        yield
    finally:
        sys.argv = before
