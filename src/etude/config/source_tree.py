"""Syntax trees of plugin files and of étude's own modules: parsing, imports and base classes."""

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from etude.config.plugin_files import roots
from etude.errors import ConfigError

SOURCE = Path(__file__).resolve().parents[1]
Definition: TypeAlias = ast.ClassDef | ast.FunctionDef


@lru_cache(maxsize=1024)
def _parse(file: Path, modified: int) -> ast.Module:
    try:
        return ast.parse(file.read_bytes(), filename=str(file))
    except (SyntaxError, ValueError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        where = f"{file}:{line}" if line else str(file)
        raise ConfigError(f"{where} is not valid Python: {error.args[0]}.") from error


def tree_of(file: Path) -> ast.Module:
    """The syntax tree of a file. Raises ConfigError, with the line, if it is not valid Python."""
    return _parse(file, file.stat().st_mtime_ns)


def lineage(name: str, file: Path) -> Iterator[tuple[ast.ClassDef, Path]]:
    """Yields the base classes of `name` and then the class itself, each with its file.

    Yields nothing for a class outside étude. Follows imports through re-exports and into private
    modules.
    """
    for node in tree_of(file).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            for base in node.bases:
                yield from lineage(ast.unparse(base).partition("[")[0], file)
            yield node, file
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                matches = alias.name == "*" or name == (alias.asname or alias.name)
                module = imported_file(node, file) if matches else None
                if module is not None:
                    yield from lineage(name if alias.name == "*" else alias.name, module)


def imported_file(node: ast.ImportFrom, file: Path) -> Path | None:
    """The file of an imported module if it belongs to étude or is a private module.

    All folders of plugins are one package: a private module may be in another one.
    """
    root, *inside = (node.module or "").split(".")
    places: list[Path] = []
    if node.level:
        path = file.parents[node.level - 1].joinpath(*filter(None, [root, *inside]))
        within = [path.relative_to(folder) for folder in roots() if folder in path.parents]
        places = [path, *(folder / part for folder in roots() for part in within)]
    elif root == "etude":
        places = [SOURCE.joinpath(*inside)]
        if inside[:1] == ["plugins"]:
            places += [folder.joinpath(*inside[1:]) for folder in roots()]
    files = (file for path in places for file in (path.with_suffix(".py"), path / "__init__.py"))
    return next((file for file in files if file.is_file()), None)


def plugin_marks(tree: ast.Module) -> Iterator[tuple[Definition, ast.expr]]:
    """Yields each definition of a file with its decorator `@plugin(...)`."""
    definitions = (node for node in tree.body if isinstance(node, Definition))
    for node in definitions:
        for mark in node.decorator_list:
            called = mark.func if isinstance(mark, ast.Call) else mark
            is_plugin = isinstance(called, ast.Name) and called.id == "plugin"
            if is_plugin or (isinstance(called, ast.Attribute) and called.attr == "plugin"):
                yield node, mark
