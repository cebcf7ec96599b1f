"""Converts errors of Hydra and OmegaConf to étude's messages, with what would work instead."""

import re
from collections.abc import Callable, Iterator, Sequence
from textwrap import fill

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import Container, DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import MarkedYAMLError

from etude.config import plugin_files
from etude.config.foreign_words import choice_of_keys, our_word
from etude.config.hydra_source import option_names
from etude.config.plugin_source import describe, presets
from etude.config.root_schemas import multi_choice_groups, optional_groups
from etude.errors import ConfigError, did_you_mean


def explain(
    error: Exception, overrides: Sequence[str], owner_of: Callable[[str], str]
) -> ConfigError:
    """Returns the ConfigError to show for an error raised while composing `overrides`.

    `owner_of` returns what the keys at a path belong to, such as `objective=clm (the default)`.
    """
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ConfigError):
            return cause
    location = _yaml_file(causes)
    invalid = _list_for_one(overrides) or _removed_group(overrides) or choice_of_keys(overrides)
    if invalid:
        return ConfigError(invalid)
    for cause in causes:
        if isinstance(cause, MissingConfigException) and cause.missing_cfg_file:
            return ConfigError(_no_option(cause.missing_cfg_file, cause.options) + location)
        if isinstance(cause, OverrideParseException):
            return ConfigError(_invalid_syntax(cause))
        if isinstance(cause, ConfigKeyError | ConfigAttributeError) and cause.full_key:
            return ConfigError(_no_key(cause, overrides, owner_of) + location)
        if isinstance(cause, OmegaConfBaseException) and cause.full_key:
            return ConfigError(_bad_value(cause) + location)
        if isinstance(cause, MarkedYAMLError) and cause.problem_mark:
            mark = cause.problem_mark
            return ConfigError(f"{mark.name}:{mark.line + 1} is not valid YAML: {cause.problem}.")
    return ConfigError(_other_error(str(error) or repr(error), overrides))


def listing(lead: str, names: Sequence[str]) -> str:
    """An indented line, wrapped, that lists `names` after `lead`."""
    return "\n" + fill(
        f"{lead}: {', '.join(names)}.", 96, initial_indent="  ", subsequent_indent="    "
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _yaml_file(causes: Sequence[BaseException]) -> str:
    """A line with the YAML file at fault, if any; Hydra names it only in its message."""
    for cause in causes:
        match = re.match(r"In '([\w/.-]+/[\w.-]+)'", str(cause))
        for folder in plugin_files.configurations() if match else ():
            file = folder / f"{match and match[1]}.yaml"
            if file.is_file():
                return f"\n  It is in {file}."
    return ""


def _list_for_one(overrides: Sequence[str]) -> str:
    """The message for a list given to a single-choice group; Hydra has no error for it."""
    for override in overrides:
        group, _, value = override.partition("=")
        if (
            value.startswith("[")
            and group in plugin_files.groups()
            and group not in multi_choice_groups()
        ):
            options = listing(f"Options of {group}", plugin_files.options(group))
            return f"{override}: {group} takes one plugin, not a list.{options}"
    return ""


def _removed_group(overrides: Sequence[str]) -> str:
    """The message for `~group` on a group that every experiment needs."""
    for override in overrides:
        group = override.removeprefix("~").partition("=")[0]
        needed = set(plugin_files.groups()) - multi_choice_groups() - optional_groups()
        if override.startswith("~") and group in needed:
            options = listing(f"Options of {group}", plugin_files.options(group))
            return f"{override}: every experiment needs one {group}; choose another.{options}"
    return ""


def _no_option(path: str, options: Sequence[str] | None) -> str:
    group, _, name = path.rpartition("/")
    known = list(options or sorted(option_names(group)))
    hint = did_you_mean(name, known, f"{group}=")
    options_line = listing(f"Options of {group}", known) if known else ""
    return f"{group}={name} does not exist.{hint}{options_line}"


def _no_key(
    error: ConfigKeyError | ConfigAttributeError,
    overrides: Sequence[str],
    owner_of: Callable[[str], str],
) -> str:
    """The message for a key that does not exist, with the keys that exist at its level."""
    key = str(error.full_key)
    node = error.parent_node
    parent, _, name = key.rpartition(".")
    group = parent.replace(".", "/")
    here = [str(item) for item in node or () if item != "hydra"]
    if name in plugin_files.options(group) and name not in here:
        return f"{key} does not exist: {group}={name} is not chosen.\n  Choose it: {group}=[{name}]"
    verb = "has" if parent else "takes"
    known = listing(f"{owner_of(parent)} {verb}", here) if here else ""
    if not here and (options := plugin_files.options(group)):
        known = listing(f"No {group} is chosen. Its options", options)
    if owners := _owners(name, group):
        return f"{key} does not exist.{known}{owners}"
    root = _root(node)
    everywhere = list(_keys(root, "")) if isinstance(root, DictConfig) else []
    same = [path for path in everywhere if path.rpartition(".")[2] == name]
    hint = (
        our_word(key)
        or (f"\n  Did you mean {same[0]}?" if len(same) == 1 else "")
        or _chooser(key, overrides)
        or did_you_mean(name, here, f"{parent}." if parent else "")
        or did_you_mean(key, [] if parent else plugin_files.groups())
    )
    return f"{key} does not exist.{hint}{known}"


def _chooser(key: str, overrides: Sequence[str]) -> str:
    """Suggests the group that has the value of `key` as an option."""
    value = next((item.partition("=")[2] for item in overrides if item.startswith(f"{key}=")), "")
    groups = [
        group
        for group in plugin_files.groups()
        if value in plugin_files.options(group) or value in presets(group)
    ]
    return f"\n  Did you mean {groups[0]}={value}?" if len(groups) == 1 else ""


def _owners(name: str, group: str) -> str:
    """A line with the plugins of the group that have the key; empty if none."""
    owners = [
        f"{group}={option}"
        for option in plugin_files.options(group)
        if name in _names(f"{group}/{option}")
    ]
    return listing(f"{name} belongs to", owners) if owners else ""


def _names(address: str) -> set[str]:
    """The keys of a plugin; empty if its file cannot be read, which is reported elsewhere."""
    try:
        return {knob.name for knob in describe(address).knobs}
    except ConfigError:
        return set()


def _root(node: Container | None) -> Container | None:
    """The root of a node; OmegaConf has no public method for it."""
    return None if node is None else node._get_root()  # pyright: ignore[reportPrivateUsage]


def _keys(node: DictConfig, path: str) -> Iterator[str]:
    for key in node:
        if key == "hydra":
            continue
        full_key = f"{path}.{key}" if path else str(key)
        yield full_key
        if not OmegaConf.is_missing(node, key) and OmegaConf.is_dict(node[key]):
            yield from _keys(node[key], full_key)


def _bad_value(error: OmegaConfBaseException) -> str:
    message = (error.msg or str(error)).partition("\n")[0]
    match = re.match(r"Value '(.*)' of type '\w+' could not be converted to (\w+)", message)
    if match:
        kinds = {"Float": "a number", "Integer": "a whole number", "Boolean": "true or false"}
        return f"{error.full_key} must be {kinds.get(match[2], match[2])}, got {match[1]}."
    if "is not a ListConfig" in message:
        return f"{error.full_key} must be a list: write {error.full_key}=[...]."
    if "is not a subclass of" in message:
        group = str(error.full_key).replace(".", "/")
        return f"{error.full_key} is a plugin; choose it with slashes: {group}=..."
    if "not Optional" in message or "non-optional" in message:
        takes_several = error.full_key in multi_choice_groups()
        none = f" To choose none: {error.full_key}=[]." if takes_several else ""
        return f"{error.full_key} cannot be null.{none}"
    return f"{error.full_key}: {message}."


def _invalid_syntax(error: OverrideParseException) -> str:
    message = str(error).partition("\n")[0]
    return (
        f"{error.override} cannot be parsed.\n  {message}\n"
        "  Write key=value. If a value contains spaces, commas, brackets, = or quotes, quote it "
        "twice,\n  for the shell and for Hydra: 'key=\"value\"'."
    )


def _other_error(message: str, overrides: Sequence[str]) -> str:
    """The message for errors that Hydra has no type for; Hydra's own text for unknown ones."""
    ambiguous = re.search(r"(?:Ambiguous value for argument|Sweep parameters) '(.*)'", message)
    if ambiguous:
        key, _, values = ambiguous[1].partition("=")
        return (
            f"{ambiguous[1]} gives several values to one key.\n"
            f"  To run a sweep over them, add -m; to pass a list, write {key}=[{values}]."
        )
    if "group override must be a string or a list" in message:
        for override in overrides:
            group, _, value = override.lstrip("+").partition("=")
            groups = {*plugin_files.groups(), *multi_choice_groups()}
            if group in groups and not re.match(r"\[|(?!null$)[a-zA-Z]", value):
                none = f" To choose none: {group}=[]." if group in multi_choice_groups() else ""
                options = plugin_files.options(group)
                known = listing(f"Options of {group}", options or ["none"])
                return f"{override} does not choose an option.{none}{known}"
    unused = re.search(r"Could not override '([^'@]*)", message)
    if unused:
        parent, _, name = unused[1].rpartition("/")
        return f"{unused[1]} is not a group of this experiment.{_owners(name, parent)}"
    return message.partition("\nTo append")[0].strip()
