"""Writes docs/plugins.md and the README's table of what fits with what: `make docs`.

Both come from docstrings and declarations; a test fails when they no longer do.
"""

from collections.abc import Iterator
from pathlib import Path

from etude.cli.pages.group import purposes
from etude.cli.pages.knobs import default_of, legal
from etude.cli.pages.plugin import fits, key_of, written
from etude.config.compatibility import famous_as
from etude.config.plugin_files import configurations, groups, options
from etude.config.plugin_source import Description, Knob, describe, heading, presets

CATALOGUE = "docs/plugins.md"
README = "README.md"
OPENING = """\
# Plugins

Written by `make docs` from the plugins' own files: do not edit. The same, with the values a preset
gives, is on the command line: `etude list`, `etude show objective=dpo`.
"""
BEGIN = "<!-- compatibility: written by make docs -->"
END = "<!-- end of compatibility -->"


def main() -> None:
    """Writes both, in the checkout this file belongs to."""
    root = _root()
    (root / CATALOGUE).write_text(catalogue(), encoding="utf-8")
    readme = root / README
    readme.write_text(with_table(readme.read_text(encoding="utf-8")), encoding="utf-8")


def catalogue() -> str:
    """Every group and plugin that ships, with every knob."""
    purpose = purposes()
    parts = [OPENING.rstrip()]
    for group in groups():
        plugins = [describe(f"{group}/{name}") for name in options(group)]
        shipped = [plugin for plugin in plugins if plugin.file.is_relative_to(_root())]
        if shipped:
            parts += [f"## {group}", f"{purpose.get(group, '')}".strip()]
            parts += [_section(group, plugin) for plugin in shipped]
            parts += [_presets(group)]
    return "\n\n".join(part for part in parts if part) + "\n"


def table() -> str:
    """Which objective trains which architecture, from what they need and provide."""
    stacks = options("architecture")
    titles = [
        f"{stack} ({', '.join(famous)})" if (famous := famous_as(stack)) else stack
        for stack in stacks
    ]
    rows = [["objective", "reads", "needs", *titles], ["---"] * (3 + len(stacks))]
    for name in options("objective"):
        plugin = describe(f"objective/{name}")
        declared = [", ".join(sorted(plugin.names(word))) for word in ("reads", "needs")]
        fitting = [
            "yes"
            if plugin.names("needs") <= describe(f"architecture/{s}").names("provides")
            else ""
            for s in stacks
        ]
        rows.append([name, *declared, *fitting])
    return "\n".join(_row(cells) for cells in rows)


def with_table(readme: str) -> str:
    """The README with the table between its two marks as it is now."""
    before, _, rest = readme.partition(BEGIN)
    after = rest.partition(END)[2]
    assert after, f"{README} has lost the marks {BEGIN} and {END}"
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _root() -> Path:
    return configurations()[0].parent


def _section(group: str, plugin: Description) -> str:
    name = plugin.address.rpartition("/")[2]
    file = plugin.file.relative_to(_root()).as_posix()
    declared = [f"{word} {written(value)}" for word, value in sorted(plugin.declared.items())]
    declared += [f"fits {other} {', '.join(names)}" for other, names in fits(group, plugin).items()]
    parts = [f"### {group}={name}", f"[{file}](../{file})", plugin.doc, "; ".join(declared)]
    return "\n\n".join([part for part in parts if part] + list(_knobs(group, plugin)))


def _knobs(group: str, plugin: Description) -> Iterator[str]:
    if plugin.knobs:
        key = key_of(group, plugin)
        rows = [["key", "legal values", "default", "what it does"], ["---"] * 4]
        rows += [_knob(group, key, knob) for knob in plugin.knobs]
        yield "\n".join(_row(cells) for cells in rows)


def _knob(group: str, key: str, knob: Knob) -> list[str]:
    place = f"{group}/{knob.name}" if knob.group else f"{key}.{knob.name}"
    default = default_of(knob)
    text = knob.help or ("A plugin of that group." if knob.group else "")
    text += f" Only with `{knob.only_with}`." if knob.only_with else ""
    values = "an option" if knob.group else f"`{legal(knob)}`"
    return [f"`{place}`", values, "" if default is None else f"`{default}`", text]


def _presets(group: str) -> str:
    root = _root()
    shipped = [file for file in presets(group).values() if file.is_relative_to(root)]
    lines = [
        f"- [`{group}={file.stem}`](../{file.relative_to(root).as_posix()}): {heading(file)}"
        for file in shipped
    ]
    return "\n".join(["Presets:", "", *lines]) if lines else ""


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    main()
