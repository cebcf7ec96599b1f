"""Composes configs with Hydra: checks names from syntax trees first, then imports the plugins.

A wrong name is an error before anything is imported. Nothing here writes to disk.
"""

import os
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
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
from etude.config.hydra_source import FOR, declared_default, outlines, own_defaults, register
from etude.config.plugin_files import configurations, roots
from etude.config.plugin_source import base_plugin
from etude.config.root_schemas import multi_choice_groups
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
    with explain_errors(overrides, verb):
        outline = check_names(verb, overrides)
        composed = _compose(verb, overrides)
        _refuse_non_booleans(composed.config, outline.config, "")
        return composed


def check_names(verb: str, overrides: Sequence[str]) -> Composition:
    """Raises ConfigError for options and keys that do not exist, without importing a plugin.

    Returns the values as written, before type conversion.
    """
    names = [one if "@" in one.partition("=")[0] else one.lstrip("+") for one in overrides]
    with explain_errors(overrides, verb), outlines():
        return _compose(verb, names)


def compose_one(verb: str, line: CommandLine) -> Composition | None:
    """Composes for a verb that takes one experiment; None if Hydra printed the config instead."""
    if print_if_requested(verb, line):
        return None
    if line.multirun:
        raise ConfigError(f"etude {verb} takes one experiment; -m is only for etude train.")
    refuse_hydra_overrides(line)
    return compose(verb, line.overrides)


def print_if_requested(verb: str, line: CommandLine) -> bool:
    """Runs Hydra's `--cfg`, `--info` or completions if requested; returns whether it did."""
    if line.prints_only:
        composed = check_names(verb, line.overrides)
        if "job" in line.flags:
            print("\n".join(_choice_lines(composed)))
        run_hydra(verb, line, _fail)
    return line.prints_only


def _choice_lines(composed: Composition) -> Iterator[str]:
    """Comments with the option of each group, which the values that Hydra prints do not show."""
    if (file := own_defaults()) is not None:
        yield f"# defaults of this folder: {file}"
    for group, option in sorted(composed.choices.items()):
        if option and option.startswith(FOR) and "@" not in group:
            option = str(declared_default(group, composed.choices["objective"]) or "")
        if option and "@" not in group and not group.startswith("hydra/"):
            base = base_plugin(group, option)
            yield f"# {group}={option}" + (f" (a preset of {base})" if base != option else "")


def _fail(config: DictConfig) -> None:
    raise AssertionError("Hydra should print something, not run a task")


def sweeper(verb: str, overrides: Sequence[str]) -> DictConfig:
    """The composed config of Hydra's sweeper."""
    with explain_errors(overrides, verb), outlines():
        return _compose_all(verb, overrides).hydra.sweeper


def run_hydra(verb: str, line: CommandLine, task: Callable[[DictConfig], float | None]) -> None:
    """Runs `hydra.main` on the command line: sweeps, `--cfg`, `--info` and completions."""
    register()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # otherwise Hydra prints errors itself and exits
    main = hydra.main(version_base=VERSION, config_path=str(configurations()[0]), config_name=verb)
    with explain_errors(line.overrides, verb), _argv([*line.flags, *line.overrides]):
        main(task)()


def refuse_hydra_overrides(line: CommandLine) -> None:
    """Raises ConfigError for settings of Hydra itself that have no effect in étude."""
    unused = ("hydra.run.", "hydra.sweep.", "hydra.output_subdir", "hydra.mode")
    hint = "Set the folder with run=<folder>, and start a sweep with -m"
    if not line.multirun:
        unused = ("hydra.", "hydra/")
        hint = "Hydra's launchers and sweepers are used only with -m"
    for override in line.overrides:
        if override.lstrip("+~").startswith(unused):
            raise ConfigError(f"{override} would have no effect.\n  {hint}.")


@contextmanager
def explain_errors(overrides: Sequence[str], verb: str = "train") -> Generator[None]:
    """Converts errors of Hydra and OmegaConf to a ConfigError that suggests what would work."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        raise explain(error, overrides, partial(_owner, verb, overrides)) from error


def _owner(verb: str, overrides: Sequence[str], path: str) -> str:
    """The owner of the keys at `path`, such as `objective=clm (the default)`, or the verb."""
    group = path.replace(".", "/")
    parent, _, name = group.rpartition("/")
    if parent in multi_choice_groups():
        return f"{parent}={name}"
    option = _option(verb, [one for one in overrides if _is_choice(one)], group)
    if not option:
        return path or f"etude {verb.replace('_', '-')}"
    is_default = option == _option(verb, [], group)
    explicit = [one for one in overrides if one.lstrip("+").startswith(f"{group}=")]
    return f"{group}={option}{' (the default)' if is_default and not explicit else ''}"


def _is_choice(override: str) -> bool:
    key = override.lstrip("+~").partition("=")[0]
    return any((folder / key).is_dir() for folder in (*configurations(), *roots()))


def _option(verb: str, choices: Sequence[str], group: str) -> str | None:
    """The option chosen in a group, explicitly or by default; None if there is none."""
    with suppress(HydraException, OmegaConfBaseException, ConfigError), outlines():
        options = _compose(verb, [one.lstrip("+") for one in choices]).choices
        option = options.get(group) or ""
        if option.startswith(FOR):
            return str(declared_default(group, options["objective"]))
        return option or None
    return None


def _compose(verb: str, overrides: Sequence[str]) -> Composition:
    config = _compose_all(verb, overrides)
    choices = dict(config.hydra.runtime.choices)
    with open_dict(config):
        del config["hydra"]
    return Composition(config, choices)


def _compose_all(verb: str, overrides: Sequence[str]) -> DictConfig:
    """The composed config, including Hydra's own settings."""
    register()
    with hydra.initialize_config_dir(str(configurations()[0]), verb, VERSION):
        return hydra.compose(verb, list(overrides), return_hydra_config=True)


def _refuse_non_booleans(typed: DictConfig, written: DictConfig, path: str) -> None:
    """Raises ConfigError for 3, yes or on as a bool; OmegaConf would convert each to true."""
    for key in typed:
        if OmegaConf.is_missing(typed, key) or key not in written:
            continue
        full_key = f"{path}.{key}" if path else str(key)
        value = typed[key]
        raw = written[key]
        if isinstance(value, DictConfig) and isinstance(raw, DictConfig):
            _refuse_non_booleans(value, raw, full_key)
        elif isinstance(value, bool) and not isinstance(raw, bool | None):
            raise ConfigError(f"{full_key} must be true or false, got {raw}.")


@contextmanager
def _argv(arguments: list[str]) -> Generator[None]:
    """Sets sys.argv, because Hydra reads its command line only from there."""
    before = sys.argv
    sys.argv = [Path(before[0]).name, *arguments]
    try:
        yield
    finally:
        sys.argv = before
