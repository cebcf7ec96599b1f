"""Lists groups: the purpose of each, and its options with their summaries."""

import re

from etude.config.plugin_files import configurations, groups, options, roots
from etude.config.plugin_source import Description, describe, heading, presets
from etude.config.registry import load
from etude.config.schema import (
    blocks,
    decoding,
    environment,
    evaluation,
    filter,
    judge,
    plugins,
    prompting,
    ramp,
)
from etude.errors import ConfigError

SCHEMAS = (
    blocks, decoding, environment, evaluation, filter, judge, plugins, prompting, ramp,
)  # fmt: skip
"""The modules with the base configs of groups."""


def all_groups() -> list[str]:
    """All plugin groups, and the folders of YAML files that work as groups."""
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
    """The purpose of each group, from the docstring of its base config, if it states one."""
    matches = (
        re.match(r"Base config of the group `(.*)`: (.*)", " ".join((kind.__doc__ or "").split()))
        for module in SCHEMAS
        for kind in vars(module).values()
        if isinstance(kind, type)
    )
    return {match[1]: f"{match[2][0].upper()}{match[2][1:]}" for match in matches if match}


def describe_own(address: str) -> Description:
    """The description of a plugin. Raises ConfigError for one that cannot be used.

    The user's own are imported, too: their syntax trees do not show whether that works.
    """
    found = describe(address)
    if not found.file.is_relative_to(roots()[0]):
        load(address)
    return found


def _summaries(group: str) -> dict[str, str]:
    """The first line of each option, or the error of an option that cannot be read."""
    summaries: dict[str, str] = {}
    for name in options(group):
        try:
            summaries[name] = describe_own(f"{group}/{name}").summary
        except ConfigError as error:
            summaries[name] = f"! {' '.join(str(error).split())}"
    return summaries | {name: heading(file) for name, file in presets(group).items()}
