"""A knob with its default and its legal values, as they are typed on the command line.

Read from syntax trees: an enum's members, and the constant that a default names, are looked up
in the file that defines them.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Any

from etude.config.plugin_source import Knob, imported, knobs, lineage, tree_of
from etude.config.schema.effect import as_typed

WIDTH = 96
N_SHOWN = 60
"""Characters of a text that are shown; a longer default is cut."""
N_DIGITS = 6
"""Significant digits of a default that is computed, such as 8 / 3."""


def entry(key: str, knob: Knob, given: str | None = None) -> str:
    """The lines of one knob: `key = default  (legal values)`, then its help.

    `given` is the value that a preset sets, as it is typed.
    """
    default = default_of(knob)
    notes = [legal(knob)]
    if given is not None:
        notes += ["no default" if default is None else f"default {default}"]
    elif default is None:
        notes += ["no default"]
    notes += [f"only with {knob.only_with}"] if knob.only_with else []
    value = default if given is None else given
    line = f"{key}{'' if value is None else f' = {value}'}  ({'; '.join(notes)})"
    text = fill(knob.help, WIDTH, initial_indent="    ", subsequent_indent="    ")
    return f"{line}\n{text}" if knob.help else line


def default_of(knob: Knob) -> str | None:
    """The default as it is typed; None where there is none."""
    if knob.default is None or knob.option is not None:
        return knob.option
    return typed(_value(ast.parse(knob.default, mode="eval").body, knob.home))


def legal(knob: Knob) -> str:
    """What the knob accepts: every legal value if there are few, else the type."""
    return ", ".join(_accepted(ast.parse(knob.type, mode="eval").body, knob.home))


def typed(value: Any) -> str:  # whatever a config or YAML holds
    """A value as it is typed; an empty text in quotes, a long one cut."""
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{typed(item)}' for key, item in value.items())}}}"
    if not isinstance(value, str):
        return as_typed(value)
    line = value.replace("\n", "\\n")
    return (line if len(line) <= N_SHOWN else f"{line[:N_SHOWN]}...") or '""'


def _accepted(kind: ast.expr, home: Path) -> Iterator[str]:
    if isinstance(kind, ast.BinOp):
        yield from _accepted(kind.left, home)
        yield from _accepted(kind.right, home)
    elif isinstance(kind, ast.Subscript):
        items = kind.slice.elts if isinstance(kind.slice, ast.Tuple) else [kind.slice]
        of = ", ".join(_accepted(items[-1], home))
        yield f"{ast.unparse(kind.value)} of {of}"
    else:
        name = ast.unparse(kind)
        fixed = {"bool": ["true", "false"], "None": ["null"]}
        yield from fixed.get(name) or members(name, home) or [_fields(name, home) or name]


def _fields(name: str, home: Path) -> str:
    """The keys of each item of a list of configs, such as `optimizer.groups`."""
    names = [knob.name for knob in knobs(name, home)]
    return f"{{{', '.join(names)}}}" if names else ""


def members(name: str, file: Path) -> list[str]:
    """The members of the enum that is called `name` in a file; none if it is no enum."""
    found = list(lineage(name, file))
    if not found or not any("Enum" in ast.unparse(base) for base in found[-1][0].bases):
        return []
    body = [node for node in found[-1][0].body if isinstance(node, ast.Assign)]
    return [ast.unparse(node.targets[0]) for node in body]


def _value(node: ast.expr, home: Path) -> Any:  # whatever a default is
    """What the expression of a default gives; its text where that cannot be read."""
    match node:
        case ast.Attribute():  # a member of an enum
            return node.attr
        case ast.List():
            return [_value(item, home) for item in node.elts]
        case ast.BinOp(op=ast.Div()):
            quotient = _value(node.left, home) / _value(node.right, home)
            return float(f"{quotient:.{N_DIGITS}g}")
        case ast.Name():
            found = _constant(node.id, home)
            return node.id if found is None else found
        case _:
            pass
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def _constant(name: str, file: Path) -> Any:  # whatever a module assigns
    """The value of a module's constant, followed through imports; None if it is not found."""
    for node in tree_of(file).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return _value(node.value, file)
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                module = imported(node, file) if name == (alias.asname or alias.name) else None
                if module is not None:
                    return _constant(alias.name, module)
    return None
