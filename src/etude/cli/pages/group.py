"""The groups there are: what each is for, and its options with their first lines."""

import re

from etude.config.plugin_files import configurations, groups, options
from etude.config.plugin_source import describe, heading, presets
from etude.config.schema import blocks, plugins
from etude.errors import ConfigError


def all_groups() -> list[str]:
    """The groups of plugins, and the folders of YAML that are chosen from alike."""
    folders = [
        file.parent.relative_to(folder).as_posix()
        for folder in configurations()
        for file in folder.glob("*/**/*.yaml")
    ]
    return sorted({*groups(), *folders})


def rows(group: str) -> list[str]:
    """A line for each option of a group: its name and its summary."""
    summaries = _summaries(group)
    width = max((len(name) for name in summaries), default=0)
    return [f"  {name:<{width}}  {text}".rstrip() for name, text in summaries.items()]


def purposes() -> dict[str, str]:
    """What each group is for, as the base of its configs says; nothing where its name says all."""
    named = {**vars(plugins), **vars(blocks)}.values()
    found = (
        re.match(r"Base config of the group `(.*)`: (.*)", " ".join((kind.__doc__ or "").split()))
        for kind in named
        if isinstance(kind, type)
    )
    return {match[1]: f"{match[2][0].upper()}{match[2][1:]}" for match in found if match}


def _summaries(group: str) -> dict[str, str]:
    """Each option with its first line; what is wrong with it where it cannot be read."""
    found: dict[str, str] = {}
    for name in options(group):
        try:
            found[name] = describe(f"{group}/{name}").summary
        except ConfigError as error:
            found[name] = f"! {str(error).partition(chr(10))[0]}"
    return found | {name: heading(file) for name, file in presets(group).items()}
