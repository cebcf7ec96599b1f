"""Composes configs with Hydra: checks names from syntax trees first, then imports the plugins.

A wrong name is an error before anything is imported. Nothing here writes to disk.
"""

import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from etude.config.command_line import CommandLine
from etude.config.hydra_errors import explain
from etude.config.hydra_source import (
    FOR,
    declared_default,
    many_of_a_kind,
    outlines,
    register,
)
from etude.config.plugin_files import configurations, roots
from etude.errors import ConfigError

VERSION = "1.3"
"""Hydra's `version_base`: the behaviour to use, whichever version is installed."""


@dataclass(frozen=True)
class Composition:
    """The composed config, and the option chosen in each group."""

    config: DictConfig
    choices: Mapping[str, str]

    @property
    def experiment(self) -> str:
        """The name of the chosen experiment, or `default`."""
        return self.choices.get("experiment") or "default"


def compose(verb: str, overrides: Sequence[str]) -> Composition:
    """Composes `conf/<verb>.yaml` with `overrides`. Raises ConfigError if they are invalid."""
    with refusing(overrides, verb):
        outline = check_names(verb, overrides)
        composed = _compose(verb, overrides)
        _refuse_loose(composed.config, outline.config, "")
        return composed


def check_names(verb: str, overrides: Sequence[str]) -> Composition:
    """Raises ConfigError for options and keys that do not exist, without importing a plugin.

    Returns the values as written, before type conversion.
    """
    names = [override.lstrip("+") for override in overrides]
    with refusing(overrides, verb), outlines():
        return _compose(verb, names)


def compose_one(verb: str, line: CommandLine) -> Composition | None:
    """Composes for a verb that takes one experiment; None if Hydra printed the config instead."""
    if inquire(verb, line):
        return None
    if line.multirun:
        raise ConfigError(f"etude {verb} looks at one experiment, and -m asks for several.")
    refuse_inert(line)
    return compose(verb, line.overrides)


def inquire(verb: str, line: CommandLine) -> bool:
    """Runs Hydra's `--cfg`, `--info` or completions if requested; returns whether it did."""
    if line.inquiry:
        check_names(verb, line.overrides)
        run_hydra(verb, line, _never)
    return line.inquiry


def _never(config: DictConfig) -> None:
    raise AssertionError("Hydra was asked to show something, not to run")


def sweeper(verb: str, overrides: Sequence[str]) -> DictConfig:
    """The composed config of Hydra's sweeper."""
    with refusing(overrides, verb), outlines():
        return _hydras(verb, overrides).hydra.sweeper


def run_hydra(verb: str, line: CommandLine, task: Callable[[DictConfig], float | None]) -> None:
    """Runs `hydra.main` on the command line: sweeps, `--cfg`, `--info` and completions."""
    register()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # otherwise Hydra prints errors itself and exits
    main = hydra.main(version_base=VERSION, config_path=str(configurations()[0]), config_name=verb)
    with refusing(line.overrides, verb), _argv([*line.flags, *line.overrides]):
        main(task)()


def refuse_inert(line: CommandLine) -> None:
    """Raises ConfigError for settings of Hydra itself that have no effect in étude."""
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
def refusing(overrides: Sequence[str], verb: str = "train") -> Generator[None]:
    """Converts errors of Hydra and OmegaConf to a ConfigError that suggests what would work."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        raise explain(error, overrides, partial(_holder, verb, overrides)) from error


def _holder(verb: str, overrides: Sequence[str], path: str) -> str:
    """The owner of the keys at `path`, such as `objective=clm (the default)`, or the verb."""
    group = path.replace(".", "/")
    above, _, name = group.rpartition("/")
    if above in many_of_a_kind():
        return f"{above}={name}"
    chosen = _chosen(verb, [one for one in overrides if _is_choice(one)], group)
    if not chosen:
        return path or f"etude {verb.replace('_', '-')}"
    is_default = chosen == _chosen(verb, [], group)
    given = [one for one in overrides if one.lstrip("+").startswith(f"{group}=")]
    return f"{group}={chosen}{' (the default)' if is_default and not given else ''}"


def _is_choice(override: str) -> bool:
    key = override.lstrip("+~").partition("=")[0]
    return any((folder / key).is_dir() for folder in (*configurations(), *roots()))


def _chosen(verb: str, choices: Sequence[str], group: str) -> str | None:
    """The option chosen in a group, explicitly or by default; None if there is none."""
    with suppress(HydraException, OmegaConfBaseException, ConfigError), outlines():
        found = _compose(verb, [one.lstrip("+") for one in choices]).choices
        option = found.get(group) or ""
        if option.startswith(FOR):
            return str(declared_default(group, found["objective"]))
        return option or None
    return None


def _compose(verb: str, overrides: Sequence[str]) -> Composition:
    config = _hydras(verb, overrides)
    choices = dict(config.hydra.runtime.choices)
    with open_dict(config):
        del config["hydra"]
    return Composition(config, choices)


def _hydras(verb: str, overrides: Sequence[str]) -> DictConfig:
    """The composed config, including Hydra's own settings."""
    register()
    with hydra.initialize_config_dir(str(configurations()[0]), verb, VERSION):
        return hydra.compose(verb, list(overrides), return_hydra_config=True)


def _refuse_loose(typed: DictConfig, written: DictConfig, path: str) -> None:
    """Raises ConfigError for 3, yes or on as a bool; OmegaConf would convert each to true."""
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
    """Sets sys.argv, because Hydra reads its command line only from there."""
    before = sys.argv
    sys.argv = [Path(before[0]).name, *arguments]
    try:
        yield
    finally:
        sys.argv = before
