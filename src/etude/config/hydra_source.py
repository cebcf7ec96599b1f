"""Exposes plugins to Hydra as config groups; only the chosen plugins are imported.

`own=defaults` is the user's `conf/train.yaml`, if there is one: the defaults of a folder.

Besides its plugins, a group has virtual options that no listing shows. `for_<objective>` contains
what that objective, chosen by name or by a preset, declares for the group: the default data,
reward or learning rate. `_<name>` contains the fields of a plugin whose config also chooses
plugins.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

from hydra._internal.core_plugins.file_config_source import FileConfigSource as PlainFileSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from etude.config import plugin_files, registry
from etude.config.config_file import children
from etude.config.plugin_source import (
    Declared,
    Description,
    base_option,
    base_plugin,
    describe,
    preset_parts,
    presets,
)
from etude.config.root_schemas import ROOTS, multi_choice_groups
from etude.config.yaml_file import MAX_BYTES, MAX_DEPTH, read_yaml, too_large
from etude.errors import ConfigError

FOR = "for_"
OWN = "own/defaults"
_outlines: ContextVar[bool] = ContextVar("_outlines", default=False)


@contextmanager
def outlines() -> Generator[None]:
    """Composes from the syntax trees of plugins: checks names but not types, imports nothing."""
    token = _outlines.set(True)
    try:
        yield
    finally:
        _outlines.reset(token)


class PluginSource(ConfigSource):
    """`plugin://import` serves typed configs, `plugin://outline` the names of their fields."""

    @staticmethod
    def scheme() -> str:
        """The URL scheme of this source."""
        return "plugin"

    def available(self) -> bool:
        """Always true: a missing plugin is étude's error to report, not Hydra's."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Whether any plugin folder has that group."""
        return plugin_files.home(config_path.strip("/")) is not None

    def is_config(self, config_path: str) -> bool:
        """Whether the path is a root schema, a plugin or a virtual option."""
        group, _, name = config_path.removesuffix(".yaml").rpartition("/")
        if not group or group == OWN.partition("/")[0]:
            return name in ROOTS or config_path.removesuffix(".yaml") == OWN
        if name.startswith(FOR):
            group = "objective"
            name = base_plugin("objective", name.removeprefix(FOR))
        address = plugin_files.canonical(f"{group}/{name.removeprefix('_')}")
        if _list_preset(group, name):
            return True
        return any((root / f"{address}.py").is_file() for root in plugin_files.roots())

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """The options and nested groups of a group, without the virtual options."""
        inside = config_path.strip("/")
        names: set[str] = set()
        if results_filter in (None, ObjectType.CONFIG):
            names.update(option_names(inside))
        if results_filter in (None, ObjectType.GROUP):
            prefix = f"{inside}/" if inside else ""
            nested = (
                group.removeprefix(prefix)
                for group in plugin_files.groups()
                if group.startswith(prefix)
            )
            names.update(name.partition("/")[0] for name in nested)
        return sorted(names)

    def load_config(self, config_path: str) -> ConfigResult:
        """Loads one config; this imports a chosen plugin."""
        group, _, name = config_path.removesuffix(".yaml").rpartition("/")
        package = None
        if not group:
            config = self._root(ROOTS[name])
        elif config_path.removesuffix(".yaml") == OWN:
            config = _own_defaults()
        elif name.startswith(FOR):
            config = _objective_default(group, name.removeprefix(FOR))
        else:
            file = _list_preset(group, name)
            config = _preset(file, group) if file else self._plugin(group, name)
            several = group in multi_choice_groups() or plugin_files.is_list(group)
            if several and not name.startswith("_"):
                package = f"{group.replace('/', '.')}.{name}"
        return ConfigResult(self.provider, self.full_path(), config, {"package": package})

    def _plugin(self, group: str, name: str) -> DictConfig:
        plugin = describe(f"{group}/{name.removeprefix('_')}")
        parts = _parts(plugin)
        if parts and not name.startswith("_"):
            return _with_parts(name, parts)
        if self.path == "outline":
            return _outline(plugin)
        try:
            typed = OmegaConf.structured(registry.load(plugin.address).config)
        except OmegaConfBaseException as error:  # of the type or the default of a knob
            knob = next(knob for knob in plugin.knobs if knob.name == error.full_key)
            reason = (error.msg or str(error)).partition("\n")[0]
            what = f"{knob.name}: {knob.type} = {knob.default}"
            raise ConfigError(f"{knob.home}:{knob.line}: {what}: {reason}.") from error
        for knob in plugin.knobs:
            if knob.type.startswith("dict"):  # accepts new keys without a +
                OmegaConf.set_struct(typed[knob.name], False)
        return typed

    def _root(self, root: type) -> DictConfig:
        typed = OmegaConf.structured(root)
        if self.path != "outline":
            return typed
        plugins = children(root)
        several = multi_choice_groups()
        bare: dict[str, Any] = {key: {} if key in several else MISSING for key in plugins}
        untyped = cast("dict[str, Any]", OmegaConf.to_container(typed))
        return OmegaConf.create({key: bare.get(key, value) for key, value in untyped.items()})


class FileConfigSource(PlainFileSource):
    """Reads the YAML files of a folder, within the limits of `yaml_file`.

    It has the name of Hydra's own source, because the registry refuses a second name for a scheme.
    """

    def load_config(self, config_path: str) -> ConfigResult:
        """Loads one file. Raises ConfigError if it is too large."""
        file = Path(self.path, self._normalize_file_name(config_path))
        if file.is_file() and (file.stat().st_size > MAX_BYTES or "*" in file.read_text("utf-8")):
            read_yaml(file)
        try:
            return super().load_config(config_path)
        except RecursionError as error:
            raise too_large(file, f"{MAX_DEPTH} levels of nesting") from error


class PluginSearchPath(SearchPathPlugin):
    """Adds the plugins to Hydra's search path, after the YAML files."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Appends `./conf` and the plugins."""
        for folder in plugin_files.configurations()[1:]:
            if folder.is_dir():
                search_path.append("etude", f"file://{folder}")
        search_path.append("etude", "plugin://outline" if _outlines.get() else "plugin://import")


def option_names(group: str) -> set[str]:
    """The names of a group's plugins and presets."""
    return {*plugin_files.options(group), *presets(plugin_files.home(group) or group)}


def _list_preset(group: str, name: str) -> Path | None:
    """The file of a preset in a list such as `data/sources`; None if it is not one.

    Hydra looks for it in the folder of the list, `conf/data/sources`, instead of `conf/data`.
    """
    if not plugin_files.is_list(group):
        return None
    return presets(str(plugin_files.home(group))).get(name)


def _preset(file: Path, group: str) -> DictConfig:
    """A preset as an option of a list: its plugin, the parts of that, and its values."""
    home = str(plugin_files.home(group))
    chain = [file]
    while (base := presets(home).get(base_option(chain[-1]) or "")) is not None:
        chain.append(base)
    plugin = base_plugin(home, file.stem)
    parts = _parts(describe(f"{home}/{plugin}"))
    config = OmegaConf.create()
    for preset in reversed(chain):
        parts |= preset_parts(home, preset.stem)
        config.merge_with(read_yaml(preset) or {})
    config.merge_with(_with_parts(plugin, parts))  # also replaces their defaults lists
    return config


def _with_parts(plugin: str, parts: Mapping[str, Any]) -> DictConfig:
    """The defaults list of the fields of a plugin and its parts."""
    return OmegaConf.create({"defaults": [f"_{plugin}", *({k: v} for k, v in parts.items())]})


def _parts(plugin: Description) -> dict[str, Any]:
    """The default options of the slots of a plugin, by slot."""
    slots = [knob for knob in plugin.knobs if knob.option or knob.several]
    return {knob.name: [] if knob.several else knob.option for knob in slots}


def own_defaults() -> Path | None:
    """The user's `conf/train.yaml`; None if there is none."""
    files = (folder / "train.yaml" for folder in plugin_files.configurations()[1:])
    return next((file for file in files if file.is_file()), None)


def _own_defaults() -> DictConfig:
    """The user's defaults. A choice in their list overrides étude's, however it is written."""
    file = own_defaults()
    content = OmegaConf.create(read_yaml(file) or {}) if file else OmegaConf.create({})
    if not isinstance(content, DictConfig):
        raise ConfigError(f"{file} must contain keys and values.")
    slots = [item for item in content.pop("defaults", []) if isinstance(item, DictConfig)]
    choices = {
        f"override /{str(slot).removeprefix('override ').strip('/ ')}": option
        for item in slots
        for slot, option in item.items()
    }
    return OmegaConf.create({"defaults": [{k: v} for k, v in choices.items()], **content})


def register() -> None:
    """Registers `plugin://` with Hydra, and our `file://` instead of its own; idempotent."""
    for part in (PluginSource, PluginSearchPath):
        Plugins.instance().register(part)
    SourcesRegistry.instance().types[FileConfigSource.scheme()] = FileConfigSource


def declared_default(keyword: str, objective: str) -> Declared:
    """What an objective, or the base plugin of a preset, declares for `data`, `reward` or `lr`."""
    return describe(f"objective/{base_plugin('objective', objective)}").declared.get(keyword)


def _objective_default(group: str, objective: str) -> DictConfig:
    """An objective's default for a group: an option, or the learning rate for `optimizer`."""
    if group == "optimizer":
        lr = declared_default("lr", objective)
        return OmegaConf.create({} if lr is None else {"optimizer": {"lr": lr}})
    option = declared_default(group, objective)
    if file := presets(group).get(str(option)):  # Hydra allows no overrides in it here
        return _preset(file, group)
    return OmegaConf.create({} if option is None else {"defaults": [option]})


def _outline(plugin: Description) -> DictConfig:
    outline: dict[str, Any] = {}
    for knob in plugin.knobs:
        value: Any = MISSING if knob.group else None
        if knob.type.startswith("dict"):
            value = DictConfig({}, flags={"struct": False})
        outline[knob.name] = value
    return OmegaConf.create(outline)
