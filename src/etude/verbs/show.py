"""Shows one plugin: its source, its knobs, what it reads and needs (`etude show objective=dpo`)."""

from textwrap import fill

from etude.describe import Declared, Description, Knob, describe, presets
from etude.errors import ConfigError


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    if not arguments:
        raise ConfigError("etude show needs a choice, such as objective=dpo.\n  See etude list.")
    for argument in arguments:
        group, _, name = argument.replace("=", "/").rpartition("/")
        preset = presets(group).get(name)
        if preset:
            print(f"{group}={name}  {preset}\n\n{preset.read_text(encoding='utf-8').rstrip()}")
        else:
            print(_page(group, name, describe(f"{group}/{name}")))
    return 0


def _page(group: str, name: str, plugin: Description) -> str:
    parts = [f"{group}={name}  {plugin.file}", plugin.doc]
    declared = [f"{key}: {_written(value)}" for key, value in plugin.declared.items()]
    if declared:
        parts.append("\n".join(declared))
    prefix = group.replace("/", ".")
    parts += [_knob(prefix, knob) for knob in plugin.knobs]
    return "\n\n".join(part for part in parts if part)


def _knob(prefix: str, knob: Knob) -> str:
    """A knob as it is set: a value by its key, a plugin by its group."""
    key = f"{prefix.replace('.', '/')}/{knob.name}" if knob.group else f"{prefix}.{knob.name}"
    default = "" if knob.default is None else f" = {knob.default}"
    text = fill(knob.help, 96, initial_indent="    ", subsequent_indent="    ")
    return f"{key}: {knob.type}{default}" + (f"\n{text}" if knob.help else "")


def _written(value: Declared) -> str:
    return ", ".join(sorted(value)) if isinstance(value, frozenset) else str(value)
