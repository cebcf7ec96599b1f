"""Finds slips in a plugin file from its syntax tree, and names the line and the right name.

Python itself would accept most of them: a misspelt keyword, a field without an annotation, a second
plugin in the file.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TypeAlias, get_args

from etude import records
from etude.capability import Capability
from etude.config.registry import Declaration
from etude.config.source_tree import SOURCE, imported_file, lineage, plugin_marks, tree_of
from etude.errors import ConfigError, did_you_mean

Slip: TypeAlias = tuple[int, str]  # the line, and what is wrong
REQUIRED = {
    "objective": {"reads": "reads={Text}", "lr": "lr=1e-3", "data": 'data="python_docs"'},
    "data": {"yields": "yields=Text"},
    "data/record": {"yields": "yields=Text", "columns": "columns=TextColumns"},
}
"""The keywords of `@plugin` that the plugins of a group must have, each with an example."""
CONSTANTS = {
    "lr": (int | float, "a number"),
    "data": (str, "an option"),
    "reward": (str, "an option"),
}
"""The types of keywords that are read without running the file, and what they are."""
RECORDS = [kind.__name__ for kind in get_args(records.Record)]
CAPABILITIES = [f"{Capability.__name__}.{item.name}" for item in Capability]
MEMBERS = {"needs": CAPABILITIES, "provides": CAPABILITIES, "reads": RECORDS}
"""What the sets of `@plugin` may contain."""


def valid_registration(file: Path, group: str) -> ast.Call:
    """The call `plugin(Config, ...)` in a plugin file.

    Raises ConfigError with every slip found, each with its line.
    """
    tree = tree_of(file)
    marks = [mark for _, mark in plugin_marks(tree)]
    if not marks:
        raise ConfigError(
            f"{file} does not register a plugin.\n"
            "  Put @plugin(Config) above the class or function whose first argument is Config."
        )
    call = marks[0]
    if not isinstance(call, ast.Call) or not call.args or not isinstance(call.args[0], ast.Name):
        own = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
        config = next((name for name in own if name.endswith("Config")), "Config")
        raise ConfigError(
            f"{file}:{call.lineno}: @{ast.unparse(call)} does not begin with the config class.\n"
            f"  Write @plugin({config}, ...): the class itself, without quotes or brackets."
        )
    second = (
        f"a second @plugin; the first is in line {call.lineno}.\n"
        "  A file is one plugin: move one of them to a file of its own."
    )
    slips = [
        *((mark.lineno, second) for mark in marks[1:]),
        *_imports(tree),
        *_config(call.args[0], file, group),
        *_keywords(call, group, file),
    ]
    if slips:
        raise ConfigError("\n".join(f"{file}:{line}: {text}" for line, text in sorted(slips)))
    return call


def _imports(tree: ast.Module) -> Iterator[Slip]:
    """Names that the imported module of étude does not have."""
    rooms = {f"etude.{file.parent.name}": file for file in SOURCE.glob("*/__init__.py")}
    faces = {"etude": SOURCE / "__init__.py", **rooms}
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom) or node.level or not faces.get(node.module or ""):
            continue
        known = {*_names(faces[str(node.module)]), "*"}
        for name in (alias.name for alias in node.names if alias.name not in known):
            face = next((room for room, file in faces.items() if name in _names(file)), "")
            hint = f"\n  Write from {face} import {name}." if face else did_you_mean(name, known)
            yield node.lineno, f"{node.module} has no {name}.{hint}"


@cache
def _names(module: Path) -> set[str]:
    """The names that a module defines or imports at its top."""
    names: set[str] = set()
    for node in tree_of(module).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        else:
            names |= {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}
    return names


def _foreign(file: Path) -> set[str]:
    """The names that a file imports from other packages than étude."""
    names: set[str] = set()
    for node in tree_of(file).body:
        if isinstance(node, ast.Import) or (
            isinstance(node, ast.ImportFrom) and imported_file(node, file) is None
        ):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return names


def _config(name: ast.Name, file: Path, group: str) -> Iterator[Slip]:
    """Slips in the config class of a plugin."""
    own = {node.name: node for node in tree_of(file).body if isinstance(node, ast.ClassDef)}
    kind = own.get(name.id)
    if kind is None:
        hint = did_you_mean(name.id, own)
        yield name.lineno, f"{name.id} is not a class of this file; a plugin's config is.{hint}"
        return
    base = _base_configs().get(group)
    known = [parent.name for parent, _ in lineage(kind.name, file)]
    bases = {re.split(r"\W", ast.unparse(one))[0] for one in kind.bases}
    if base and base not in known and not bases & _foreign(file):
        text = f"{kind.name} must derive from {base}, the base config of the group {group}."
        yield kind.lineno, text
    marks = [mark for mark in kind.decorator_list if "dataclass" in ast.unparse(mark)]
    if not marks:
        yield kind.lineno, f"{kind.name} is not a dataclass.\n  Put @dataclass above it."
    if any("frozen=True" in ast.unparse(mark) for mark in marks):
        yield kind.lineno, f"{kind.name} is frozen, and could not be overridden: drop frozen=True."
    for node in kind.body:
        yield from _field(node)


def _field(node: ast.stmt) -> Iterator[Slip]:
    """Slips in a statement of a config class."""
    text = ast.unparse(node)
    slip = fix = ""
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        value = ast.unparse(node.value)
        kind = type(node.value.value).__name__ if isinstance(node.value, ast.Constant) else "<type>"
        slip = "has no type, so it is not a knob"
        fix = f"{node.targets[0].id}: {kind} = {value}, or ClassVar for a constant"
    elif isinstance(node, ast.AnnAssign) and "Literal[" in ast.unparse(node.annotation):
        slip = "has a type that knobs cannot have"
        fix = 'Annotated[str, ("a", "b")], or an Enum of strings'
    elif isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.List | ast.Dict | ast.Set):
        value = ast.unparse(node.value)
        slip = "would be one value shared by all configs"
        fix = f"{text.removesuffix(value)}field(default_factory=lambda: {value})"
    if slip:
        yield node.lineno, f"{text} {slip}.\n  Write {fix}."


@cache
def _base_configs() -> dict[str, str]:
    """The base config of each group, which its docstring names."""
    found: dict[str, str] = {}
    schemas = (tree_of(file).body for file in (SOURCE / "config/schema").glob("*.py"))
    for node in chain.from_iterable(schemas):
        if isinstance(node, ast.ClassDef):
            before, *quoted = (ast.get_docstring(node) or "").split("`")
            if before == "Base config of the group ":
                found[quoted[0]] = node.name
    return found


def _keywords(call: ast.Call, group: str, file: Path) -> Iterator[Slip]:
    """Slips in the keywords of `@plugin`."""
    known = [item.name for item in fields(Declaration)]
    given = {word.arg: word.value for word in call.keywords if word.arg}
    for name, value in given.items():
        if name not in known:
            hint = did_you_mean(name, known) or f"\n  It takes: {', '.join(known)}."
            yield value.lineno, f"@plugin does not take {name}=.{hint}"
        elif name in MEMBERS:
            yield from _members(name, value)
        elif name == "yields" and (text := ast.unparse(value)) not in RECORDS:
            hint = did_you_mean(text, RECORDS) or f"\n  Records: {', '.join(RECORDS)}."
            yield value.lineno, f"yields must be one record, got {text}.{hint}"
        elif name in CONSTANTS and isinstance(value, ast.Constant):
            kinds, what = CONSTANTS[name]
            if not isinstance(value.value, kinds):
                yield value.lineno, f"{name} must be {what}, got {ast.unparse(value)}."
    classes = [kind for kind, _ in lineage(ast.unparse(call.args[0]), file)]
    has_reader = "reader" in {
        item.name
        for kind in classes
        for item in kind.body
        if isinstance(item, ast.FunctionDef) and kind.name != "DataConfig"
    }
    for name, such_as in REQUIRED.get(group, {}).items():
        if name not in given and not has_reader:  # its records are those of another config
            yield call.lineno, f"@plugin has no {name}=.\n  Add one, such as {such_as}."


def _members(name: str, value: ast.expr) -> Iterator[Slip]:
    """Slips in a set of capabilities or records."""
    known = MEMBERS[name]
    if ast.unparse(value) in known or isinstance(value, ast.Constant):
        yield value.lineno, f"{name} must be a set.\n  Write {name}={{{ast.unparse(value)}}}."
    owner = "" if known is RECORDS else f"{Capability.__name__}."
    for item in value.elts if isinstance(value, ast.Set | ast.List | ast.Tuple) else ():
        if (text := ast.unparse(item)) not in known:
            short = [one.removeprefix(owner) for one in known]
            hint = did_you_mean(text.strip("'").rpartition(".")[2], short, owner)
            all_known = f"\n  It takes: {', '.join(known)}."
            yield item.lineno, f"{name} contains {text}, which does not exist.{hint}{all_known}"
