"""Converts Hydra's composed config to typed dataclasses, and saves and loads `config.yaml`.

The file contains the address and source digest of each plugin and then every value, so a run can
be rebuilt without Hydra, even after the defaults have changed.
"""

import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast, get_args, get_type_hints

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from etude.config.plugin_files import find, source_digest
from etude.config.registry import load as load_plugin
from etude.config.registry import plugin_of
from etude.config.schema.effect import refuse_without_effect
from etude.config.schema.experiment import SEEDS, ExperimentConfig
from etude.config.schema.plugins import PluginConfig
from etude.config.yaml_file import read_yaml
from etude.errors import CheckpointError, ConfigError, did_you_mean
from etude.files.json_file import reading
from etude.files.run_folder import CONFIG
from etude.files.seal import read_sealed, write_sealed
from etude.files.secret import HINT, is_secret, redacted

LARGEST_FLOAT = 3.4e38
"""The largest number of float32; a larger one becomes infinite when a network uses it."""
_ENVIRONMENT = re.compile(r"(?<!\\)(\\\\)*\$\{[^}]*\benv\s*:")
Root = TypeVar("Root")
Table: TypeAlias = dict[str, Any]  # of values of any type


def children(config_type: type) -> dict[str, type[PluginConfig]]:
    """Maps each field that contains plugin configs to its config class; dicts to their values'."""
    hints: dict[str, Any] = get_type_hints(config_type)
    configs: dict[str, type[PluginConfig]] = {}
    for item in fields(config_type):
        for candidate in (hints[item.name], *get_args(hints[item.name])):
            if isinstance(candidate, type) and issubclass(candidate, PluginConfig):
                configs[item.name] = candidate
    return configs


def to_experiment(cfg: DictConfig) -> ExperimentConfig:
    """Builds the experiment that `cfg` describes; see `build_config`."""
    return build_config(cfg, ExperimentConfig)


def build_config(cfg: DictConfig, kind: type[Root]) -> Root:
    """Builds the dataclasses that `cfg` describes, and runs their own checks.

    Raises ConfigError, with the full key, for an unknown key, for a value that is missing, of the
    wrong type, not finite, secret or rejected by a `__post_init__`, and for a value without effect.
    """
    config = _to_dataclass(cfg, kind)
    refuse_without_effect(config)
    return config


def _to_dataclass(cfg: DictConfig, kind: type[Root]) -> Root:
    config = _build(cfg, "")
    if not isinstance(config, kind):
        raise ConfigError(f"Expected a {kind.__name__}, got {OmegaConf.get_type(cfg)}.")
    return config


def nodes(config: object) -> Iterator[tuple[str, PluginConfig]]:
    """Yields every plugin config with its path, such as `architecture.mlp`; parents come first."""
    yield from _nodes(config, "")


def node_of(config: object, group: str) -> Any:
    """The value of a group such as `architecture/mlp` in a config: one plugin config, or a dict."""
    node: Any = config
    for name in group.split("/"):
        node = vars(node)[name]
    return node


def save_config(config: ExperimentConfig, folder: Path) -> Path:
    """Writes `config.yaml` into an existing folder and returns its path."""
    plugins = {
        path: {"address": (plugin := plugin_of(node)).address, "sha256": source_digest(plugin.file)}
        for path, node in nodes(config)
    }
    values = to_yaml(config)
    readable = not re.search(r"\\x85|\\u202[89]", str(values))  # YAML would fold these line breaks
    text = yaml.safe_dump(
        {"plugins": plugins, "values": values}, allow_unicode=readable, sort_keys=False
    )
    file = folder / CONFIG
    write_sealed(file, text)
    return file


def load_config(folder: Path) -> ExperimentConfig:
    """Rebuilds the config that `save_config` wrote into `folder`, equal to the one saved.

    Warns about a plugin whose file has changed since. Raises CheckpointError if the file is missing
    or damaged, ConfigError if a plugin no longer exists or rejects its values.
    """
    file = folder / CONFIG
    plugins, values = read_stored(folder)
    cfg = OmegaConf.structured(ExperimentConfig)
    for path, entry in plugins.items():
        with reading(file):
            OmegaConf.update(cfg, path, _schema(path, entry, file), merge=False, force_add=True)
    if changed := ", ".join(_plugin_changes(plugins)):
        warnings.warn(f"plugins have changed since {file} was written: {changed}", stacklevel=2)
    try:
        cfg.merge_with(_escape(values))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{file}: {error.full_key}: {_first_line(error)}.") from error
    return _to_dataclass(cfg, ExperimentConfig)


def changed_plugins(folder: Path) -> dict[str, tuple[str, str | None]]:
    """The plugins whose source has changed since a run's config was saved, by address.

    Each with its digest then and now; None if it no longer exists.
    """
    return _plugin_changes(read_stored(folder)[0])


def _plugin_changes(plugins: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[str, str | None]]:
    found: dict[str, tuple[str, str | None]] = {}
    for address, was in {one["address"]: one["sha256"] for one in plugins.values()}.items():
        try:
            now = source_digest(find(address))
        except ConfigError:
            now = None
        if now != was:
            found[address] = was, now
    return found


def read_stored(folder: Path) -> tuple[dict[str, dict[str, str]], Table]:
    """The plugins (address and sha256) and the values of a saved config, as text; imports none."""
    file = folder / CONFIG
    if not file.is_file():
        raise CheckpointError(f"{folder} is not a run folder: it has no {CONFIG}.")
    read_sealed(file)
    with reading(file):
        try:
            stored = read_yaml(file)
        except ConfigError as error:
            raise CheckpointError(f"{file} is damaged: {error}") from error
        plugins = {
            str(path): {"address": str(one["address"]), "sha256": str(one["sha256"])}
            for path, one in stored["plugins"].items()
        }
        return plugins, dict(stored["values"])


def config_of_parent(key: str, run: str) -> ExperimentConfig:
    """The config of the run that the knob `key` names. Raises ConfigError if it is not a run."""
    try:
        return load_config(Path(run))
    except CheckpointError as error:
        raise ConfigError(
            f"{key}={run} cannot be used: {error}\n"
            "  Give a run folder, which is the last line that `etude train` prints."
        ) from error


def _schema(path: str, entry: Mapping[str, str], file: Path) -> DictConfig:
    """The typed defaults of a saved node's plugin."""
    address = entry["address"]
    try:
        find(address)
    except ConfigError as error:
        raise ConfigError(f"{file} needs the plugin {address} for {path}.\n  {error}") from error
    return OmegaConf.structured(load_plugin(address).config)


def _build(node: DictConfig, path: str) -> Any:  # the dataclass that the node is typed as
    kind = OmegaConf.get_type(node)
    if kind is None or not is_dataclass(kind):
        raise ConfigError(f"{path} does not belong to a plugin.")
    if issubclass(kind, PluginConfig) and "__plugin__" not in vars(kind):  # by ~group
        raise _unset(path, path.replace(".", "/"))
    names = [item.name for item in fields(kind) if item.init]
    for key in node:
        if key not in names:
            hint = did_you_mean(str(key), names, f"{path}." if path else "")
            raise ConfigError(f"{_join(path, key)} does not exist.{hint}")
    values = {name: _value(node, name, _join(path, name)) for name in names}
    try:
        return kind(**values)
    except ValueError as error:
        message = str(error)
        separator = "." if message.partition(" ")[0] in names and path else ": " if path else ""
        raise ConfigError(f"{path}{separator}{message}") from error


def _value(node: DictConfig, name: str, path: str) -> Any:  # of whatever type the field has
    if name not in node:  # missing, or deleted by `~name`
        is_plugin = name in children(cast("type", OmegaConf.get_type(node)))
        raise _unset(path, path.replace(".", "/") if is_plugin else path)
    written = cast("Table", OmegaConf.to_container(node, resolve=False))[name]
    if not isinstance(written, dict) and _ENVIRONMENT.search(str(written)):
        raise ConfigError(
            f"{path} reads an environment variable, but a run saves its config as plain text.\n"
            "  Give the value itself; put secrets where the library that needs them looks for them."
        )
    try:
        value = node[name]
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}: {_first_line(error)}.") from error
    return _convert(value, path)


def _unset(path: str, key: str) -> ConfigError:
    return ConfigError(f"{path} has no value and no default.\n  Set {key}=...")


def _convert(value: Any, path: str) -> Any:  # recursion over containers of any kind
    if isinstance(value, DictConfig):
        if is_dataclass(OmegaConf.get_type(value)):
            return _build(value, path)
        return {key: _value(value, str(key), _join(path, key)) for key in value}
    if isinstance(value, ListConfig):
        return [_convert(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, float) and not abs(value) <= LARGEST_FLOAT:
        why = " It is infinite in float32." if math.isfinite(value) else ""
        raise ConfigError(f"{path} must be a finite number, got {value}.{why}")
    if isinstance(value, int) and abs(value) >= SEEDS:
        raise ConfigError(f"{path} must be a number below 2**63, got {value}.")
    if isinstance(value, str) and is_secret(value, path):
        raise ConfigError(f"{path} contains a secret: {redacted(value)}\n  {HINT}")
    return value


def _nodes(config: Any, path: str) -> Iterator[tuple[str, PluginConfig]]:  # any dataclass or dict
    if isinstance(config, PluginConfig):
        yield path, config
    if is_dataclass(config):
        for item in fields(config):
            yield from _nodes(getattr(config, item.name), _join(path, item.name))
    elif isinstance(config, dict):
        for key, value in cast("Table", config).items():
            yield from _nodes(value, _join(path, key))


def to_yaml(value: Any) -> Any:  # types that YAML supports
    """Returns configs as dicts, with the names of enum values."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_yaml(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, dict):
        return {key: to_yaml(item) for key, item in cast("Table", value).items()}
    if isinstance(value, list | tuple):
        return [to_yaml(item) for item in cast("list[Any]", value)]
    if isinstance(value, Enum):
        return value.name
    return str(value) if isinstance(value, Path) else value


def _escape(value: Any) -> Any:  # a saved value is never an interpolation
    if isinstance(value, dict):
        return {key: _escape(item) for key, item in cast("Table", value).items()}
    if isinstance(value, list):
        return [_escape(item) for item in cast("list[Any]", value)]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", value)
    return value


def _first_line(error: OmegaConfBaseException) -> str:
    return (error.msg or str(error)).partition("\n")[0]


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)
