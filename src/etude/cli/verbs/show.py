"""Shows a choice, a group or a key: source, knobs, legal values, what it fits with.

    etude show objective=dpo                an option of a group
    etude show dpo                          the same, where one group alone has it
    etude show objective                    the options of a group, and the keys of the default
    etude show trainer                      keys that are in no group
    etude show trainer.precision            one key

What is shown is read from files; nothing is imported.
"""

from functools import cache

from etude.cli.pages.group import all_groups
from etude.cli.pages.node import group_page, key_page, keys, plugin_key_page
from etude.cli.pages.plugin import page
from etude.config.hydra_errors import listing
from etude.config.plugin_files import addresses, groups
from etude.config.plugin_source import presets, stands_on
from etude.errors import ConfigError, did_you_mean


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    if not arguments:
        raise ConfigError(
            "etude show needs a choice, a group or a key, such as objective=dpo, objective or "
            "trainer.\n  See etude list."
        )
    for argument in arguments:
        print(_page(argument))
    return 0


def _page(argument: str) -> str:
    group, _, name = argument.replace("=", "/").rpartition("/")
    place = argument.replace(".", "/")
    if "=" not in argument and place in all_groups():
        return f"{group_page(place)}{_also(argument)}"
    if group in all_groups():
        return _option_page(group, name)
    found = None if group else key_page(name)
    if found:
        return f"{found}{_also(name)}"
    return _named(argument)


def _named(name: str) -> str:
    """The page of the one group, option or key of plugins that has a name."""
    having = _groups_with(name)
    inside = [group for group in all_groups() if group.endswith(f"/{name}")]
    if len(having) == 1:
        return f"{name} is {having[0]}={name}.\n\n{_option_page(having[0], name)}"
    if not having and len(inside) == 1:
        return f"{name} is the group {inside[0]}.\n\n{group_page(inside[0])}"
    among = keys()
    ends = sorted(key for key in among if f".{key}".endswith(f".{name}"))
    if not having and len(ends) == 1:
        return key_page(ends[0]) or str(plugin_key_page(ends[0]))
    several = [f"{group}={name}" for group in having] or inside or ends
    if several:
        raise ConfigError(f"{name} is ambiguous.{listing('Choose one', several)}")
    group, joined, _ = name.partition("=")
    short = {*_options(), *(key.rpartition(".")[2] for key in among)}
    hint = did_you_mean(group, [*all_groups(), *among, *([] if joined else sorted(short))])
    what = "group" if joined else "group, option or key"
    raise ConfigError(f"{group} is not a {what}.{hint}\n  etude list lists every group and option.")


def _also(name: str) -> str:
    """The options that have the name of what is shown."""
    also = [f"{group}={name}" for group in _groups_with(name)]
    return f"\n\n{name} is also an option: {', '.join(also)}." if also else ""


def _option_page(group: str, name: str) -> str:
    file = presets(group).get(name)
    if file and stands_on(file) is None:  # a recipe: its text is all there is to it
        return f"{group}={name}  {file}\n\n{file.read_text(encoding='utf-8').rstrip()}"
    return page(group, name)


def _groups_with(name: str) -> list[str]:
    """The groups that have an option; those of recipes only where no group of plugins has it."""
    having = _options().get(name, [])
    plugins = set(groups()) if len(having) > 1 else set()
    return [group for group in having if group in plugins] or having


@cache
def _options() -> dict[str, list[str]]:
    """Every option there is, plugins and YAML, with the groups that have it."""
    plugins = [(group, name) for group, _, name in (a.rpartition("/") for a in addresses())]
    files = [(group, name) for group in all_groups() for name in presets(group)]
    found: dict[str, list[str]] = {}
    for group, name in dict.fromkeys([*plugins, *files]):
        found.setdefault(name, []).append(group)
    return found
