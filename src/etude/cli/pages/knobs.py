"""Formats a knob with its default and legal values, as typed on the command line.

Read from syntax trees: an enum's members, and the constant that a default names, are looked up
in the file that defines them.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Any

from etude.config.plugin_source import Knob, knobs
from etude.config.schema.effect import as_typed
from etude.config.source_tree import imported_file, lineage, tree_of

WIDTH = 96
N_SHOWN = 60
"""Maximum number of characters of a default that are shown."""
N_DIGITS = 6
"""Significant digits of a default that is computed, such as 8 / 3."""


def entry(key: str, knob: Knob, preset: str | None = None) -> str:
    """Returns the lines of one knob: `key = default  (legal values)`, then its help.

    `preset` is the value that a preset sets, as typed.
    """
    default = default_of(knob)
    notes = [legal(knob)]
    if preset is not None:
        notes += ["no default" if default is None else f"default {default}"]
    elif default is None:
        notes += ["no default"]
    notes += [f"only with {knob.only_with}"] if knob.only_with else []
    value = default if preset is None else preset
    line = f"{key}{'' if value is None else f' = {value}'}  ({'; '.join(notes)})"
    text = fill(knob.help, WIDTH, initial_indent="    ", subsequent_indent="    ")
    return f"{line}\n{text}" if knob.help else line


def default_of(knob: Knob) -> str | None:
    """Returns the default as typed; None if there is none."""
    if knob.default is None or knob.option is not None:
        return knob.option
    return short_value(_value(ast.parse(knob.default, mode="eval").body, knob.home))


def legal(knob: Knob) -> str:
    """Returns every legal value of the knob if they are enumerated, otherwise its type."""
    return ", ".join(_accepted_values(ast.parse(knob.type, mode="eval").body, knob.home))


def short_value(value: Any) -> str:  # whatever a config or YAML holds
    """Returns a value as typed; an empty string is quoted, a long one truncated."""
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{short_value(item)}' for key, item in value.items())}}}"
    if not isinstance(value, str):
        return as_typed(value)
    line = value.replace("\n", "\\n")
    return (line if len(line) <= N_SHOWN else f"{line[:N_SHOWN]}...") or '""'


def _accepted_values(kind: ast.expr, home: Path) -> Iterator[str]:
    if isinstance(kind, ast.BinOp):
        yield from _accepted_values(kind.left, home)
        yield from _accepted_values(kind.right, home)
    elif isinstance(kind, ast.Subscript) and ast.unparse(kind.value) == "Annotated":
        assert isinstance(kind.slice, ast.Tuple)  # a type and its legal values
        yield from _value(kind.slice.elts[1], home)
    elif isinstance(kind, ast.Subscript):
        items = kind.slice.elts if isinstance(kind.slice, ast.Tuple) else [kind.slice]
        of = ", ".join(_accepted_values(items[-1], home))
        yield f"{ast.unparse(kind.value)} of {of}"
    else:
        name = ast.unparse(kind)
        fixed = {"bool": ["true", "false"], "None": ["null"]}
        yield from fixed.get(name) or members(name, home) or [_fields(name, home) or name]


def _fields(name: str, home: Path) -> str:
    """Returns the keys of each item in a list of configs, such as `optimizer.groups`."""
    names = [knob.name for knob in knobs(name, home)]
    return f"{{{', '.join(names)}}}" if names else ""


def members(name: str, file: Path) -> list[str]:
    """Returns the members of the enum `name` in a file; empty if it is not an enum."""
    classes = list(lineage(name, file))
    if not classes or not any("Enum" in ast.unparse(base) for base in classes[-1][0].bases):
        return []
    body = [node for node in classes[-1][0].body if isinstance(node, ast.Assign)]
    return [ast.unparse(node.targets[0]) for node in body]


def _value(node: ast.expr, home: Path) -> Any:  # whatever a default is
    """Returns the value of a default's expression; its text if it cannot be evaluated."""
    match node:
        case ast.Attribute():  # a member of an enum
            return node.attr
        case ast.List() | ast.Tuple():
            return [_value(item, home) for item in node.elts]
        case ast.BinOp(op=ast.Div()):
            quotient = _value(node.left, home) / _value(node.right, home)
            return float(f"{quotient:.{N_DIGITS}g}")
        case ast.Subscript(value=ast.Name(id="dict")):  # the factory of an empty one
            return {}
        case ast.Name():
            value = _constant(node.id, home)
            return node.id if value is None else value
        case _:
            pass
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def _constant(name: str, file: Path) -> Any:  # whatever a module assigns
    """Returns the value of a module's constant, following imports; None if it is not found."""
    for node in tree_of(file).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return _value(node.value, file)
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                module = imported_file(node, file) if name == (alias.asname or alias.name) else None
                if module is not None:
                    return _constant(alias.name, module)
    return None
