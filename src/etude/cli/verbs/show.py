"""Shows an option, a group or a key: source, knobs, legal values, compatible options.

    etude show objective=dpo                an option of a group
    etude show dpo                          the same, if only one group has that option
    etude show objective                    the options of a group, and the keys of the default
    etude show trainer                      keys that are in no group
    etude show trainer.precision            one key

Everything is read from files; no plugin is imported.
"""

from functools import cache

from etude.cli.pages.group import all_groups
from etude.cli.pages.node import group_page, key_page, keys, plugin_key_page
from etude.cli.pages.plugin import page
from etude.config.hydra_errors import listing
from etude.config.plugin_files import addresses, groups, home
from etude.config.plugin_source import base_option, presets
from etude.errors import ConfigError, did_you_mean


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    if not arguments:
        raise ConfigError(
            "etude show needs an option, a group or a key, such as objective=dpo, objective or "
            "trainer.\n  etude list lists the groups and options."
        )
    for argument in arguments:
        print(_page(argument))
    return 0


def _page(argument: str) -> str:
    group, _, name = argument.replace("=", "/").rpartition("/")
    path = argument.replace(".", "/")
    if "=" not in argument and _is_group(path):
        return f"{group_page(path)}{_also(argument)}"
    if _is_group(group):
        return _option_page(group, name)
    page_of_key = None if group else key_page(name)
    if page_of_key:
        return f"{page_of_key}{_also(name)}"
    return _page_by_name(argument)


def _is_group(path: str) -> bool:
    return path in all_groups() or ("/" in path and home(path) is not None)


def _page_by_name(name: str) -> str:
    """The page of the only group, option or plugin key with this name."""
    groups_with = _groups_with(name)
    nested = [group for group in all_groups() if group.endswith(f"/{name}")]
    if len(groups_with) == 1:
        return f"{name} is {groups_with[0]}={name}.\n\n{_option_page(groups_with[0], name)}"
    if not groups_with and len(nested) == 1:
        return f"{name} is the group {nested[0]}.\n\n{group_page(nested[0])}"
    known = keys()
    matches = sorted(key for key in known if f".{key}".endswith(f".{name}"))
    if not groups_with and len(matches) == 1:
        return key_page(matches[0]) or str(plugin_key_page(matches[0]))
    several = [f"{group}={name}" for group in groups_with] or nested or matches
    if several:
        raise ConfigError(f"{name} is ambiguous.{listing('Choose one', several)}")
    group, is_choice, _ = name.partition("=")
    short = {*_options(), *(key.rpartition(".")[2] for key in known)}
    hint = did_you_mean(group, [*all_groups(), *known, *([] if is_choice else sorted(short))])
    what = "group" if is_choice else "group, option or key"
    raise ConfigError(f"{group} is not a {what}.{hint}\n  etude list lists every group and option.")


def _also(name: str) -> str:
    """A line with the options that have the same name; empty if there is none."""
    options = [f"{group}={name}" for group in _groups_with(name)]
    return f"\n\n{name} is also an option: {', '.join(options)}." if options else ""


def _option_page(group: str, name: str) -> str:
    file = presets(group).get(name)
    if file and base_option(file) is None:  # a recipe: its page is its text
        return f"{group}={name}  {file}\n\n{file.read_text(encoding='utf-8').rstrip()}"
    return page(group, name)


def _groups_with(name: str) -> list[str]:
    """The groups that have an option; groups of recipes only if no plugin group has it."""
    candidates = _options().get(name, [])
    plugins = set(groups()) if len(candidates) > 1 else set()
    return [group for group in candidates if group in plugins] or candidates


@cache
def _options() -> dict[str, list[str]]:
    """Maps each option, plugin or YAML file, to the groups that have it."""
    plugins = [(group, name) for group, _, name in (a.rpartition("/") for a in addresses())]
    files = [(group, name) for group in all_groups() for name in presets(group)]
    by_name: dict[str, list[str]] = {}
    for group, name in dict.fromkeys([*plugins, *files]):
        by_name.setdefault(name, []).append(group)
    return by_name
