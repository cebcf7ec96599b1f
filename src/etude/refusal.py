"""Turns what Hydra and OmegaConf raise into one page: what was asked, what is so, what would work."""

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from textwrap import fill

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import Container, DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from etude import registry
from etude.describe import describe
from etude.errors import ConfigError


def explain(error: Exception, overrides: Sequence[str]) -> ConfigError:
    """Returns the error to show for what composing `overrides` raised."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ConfigError):
            return cause
    place = _place(causes)
    for cause in causes:
        if isinstance(cause, MissingConfigException) and cause.missing_cfg_file:
            return ConfigError(_no_option(cause.missing_cfg_file, cause.options) + place)
        if isinstance(cause, OverrideParseException):
            return ConfigError(_unreadable(cause))
        if isinstance(cause, ConfigKeyError | ConfigAttributeError) and cause.full_key:
            return ConfigError(_no_key(cause.full_key, cause.parent_node) + place)
        if isinstance(cause, OmegaConfBaseException) and cause.full_key:
            return ConfigError(_bad_value(cause) + place)
    return ConfigError(_hydra_says(str(causes[0]) or repr(causes[0]), overrides))


def closest(name: str, among: Sequence[str]) -> str:
    """A line that offers the nearest of `among`, or nothing."""
    near = get_close_matches(name, among, n=1, cutoff=0.5)
    return f"\n  Did you mean {near[0]}?" if near else ""


def listing(lead: str, names: Sequence[str]) -> str:
    """An indented line, wrapped, that lists `names` after `lead`."""
    return "\n" + fill(
        f"{lead}: {', '.join(names)}.", 96, initial_indent="  ", subsequent_indent="    "
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _place(causes: Sequence[BaseException]) -> str:
    """The YAML file at fault, if it was one: Hydra only says so in words."""
    for cause in causes:
        found = re.match(r"In '([\w/.-]+/[\w.-]+)'", str(cause))
        for folder in registry.configurations() if found else ():
            file = folder / f"{found and found[1]}.yaml"
            if file.is_file():
                return f"\n  It stands in {file}."
    return ""


def _no_option(path: str, options: Sequence[str] | None) -> str:
    group, _, name = path.rpartition("/")
    known = list(options or registry.options(group))
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"\n  Did you mean {group}={near[0]}?" if near else ""
    have = listing(f"The group {group} has", known) if known else ""
    return f"{group}={name} does not exist.{hint}{have}"


def _no_key(key: str, node: Container | None) -> str:
    parent, _, name = key.rpartition(".")
    group = parent.replace(".", "/")
    known = [str(item) for item in node] if isinstance(node, DictConfig) else []
    if group in registry.groups():
        if name in registry.options(group) and name not in known:
            return (
                f"{key} is not there: {group}={name} is not chosen.\n  Choose it: {group}=[{name}]"
            )
        owners = [
            option for option in registry.options(group) if name in _names(f"{group}/{option}")
        ]
        if owners:
            return f"{key} does not exist here.{listing(f'{name} belongs to', [f'{group}={o}' for o in owners])}"
    root = node._get_root() if node is not None else None  # the only way up that OmegaConf has
    everywhere = list(_keys(root, "")) if isinstance(root, DictConfig) else []
    same = [path for path in everywhere if path.rpartition(".")[2] == name]
    beside = [f"{parent}.{item}" if parent else item for item in known]
    hint = f"\n  Did you mean {same[0]}?" if len(same) == 1 else closest(key, beside)
    hint = hint or closest(key, [*everywhere, *registry.groups()])
    have = listing(f"{parent or 'An experiment'} has", known) if known else ""
    return f"{key} does not exist.{hint}{have}"


def _names(address: str) -> set[str]:
    """The keys of a plugin; none when its file cannot be read, which is not the matter at hand."""
    try:
        return {knob.name for knob in describe(address).knobs}
    except ConfigError:
        return set()


def _keys(node: DictConfig, path: str) -> Iterator[str]:
    for key in node:
        if key == "hydra":
            continue
        place = f"{path}.{key}" if path else str(key)
        yield place
        if not OmegaConf.is_missing(node, key) and OmegaConf.is_dict(node[key]):
            yield from _keys(node[key], place)


def _bad_value(error: OmegaConfBaseException) -> str:
    said = (error.msg or str(error)).partition("\n")[0]
    found = re.match(r"Value '(.*)' of type '\w+' could not be converted to (\w+)", said)
    if found:
        kinds = {"Float": "a number", "Integer": "a whole number", "Boolean": "true or false"}
        return f"{error.full_key} must be {kinds.get(found[2], found[2])}, got {found[1]}."
    if "not Optional" in said or "non-optional" in said:
        return f"{error.full_key} cannot be null."
    return f"{error.full_key}: {said}."


def _unreadable(error: OverrideParseException) -> str:
    said = str(error).partition("\n")[0]
    return (
        f"{error.override} cannot be read.\n  {said}\n"
        "  Write key=value; quote a value that holds spaces, commas, brackets, = or quotes "
        "twice,\n  once for the shell: 'key=\"value\"'."
    )


def _hydra_says(message: str, overrides: Sequence[str]) -> str:
    ambiguous = re.search(r"(?:Ambiguous value for argument|Sweep parameters) '(.*)'", message)
    if ambiguous:
        key, _, values = ambiguous[1].partition("=")
        return (
            f"{ambiguous[1]} is several values for one key.\n"
            f"  To try each in turn add -m; to give a list write {key}=[{values}]."
        )
    if "group override must be a string or a list" in message:
        for override in overrides:
            group, _, value = override.lstrip("+").partition("=")
            if group in registry.groups() and not re.search(r"[a-zA-Z]", value.replace("null", "")):
                known = listing(f"The group {group} has", registry.options(group))
                return f"{override} chooses nothing; for none of a group of many write {group}=[].{known}"
    unused = re.search(r"Could not override '([^']*)'", message)
    if unused:
        group = unused[1].partition("@")[0]
        return f"{group} cannot be chosen here: nothing in this experiment takes it." + closest(
            group, registry.groups()
        )
    return message.partition("\nTo append")[0].strip() or HydraException.__name__
