"""Divides the statements of a file into those that need a heavy module, and the others.

A heavy module is one of a room below `config`, which may import torch, or of a library other than
Python's own and OmegaConf. A class that only mentions such a module inside its methods does not
need it to be defined: such a method executes the rest of the file first.
"""

import ast
import copy
import sys
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias, TypeVar

from etude.config.source_tree import Definition, imported_file, plugin_marks, tree_of

LIBRARIES = {*sys.stdlib_module_names, "omegaconf"}
ROOMS = {"errors", "records", "capability", "processes", "files", "config"}
"""The rooms that import no heavy module."""
COMPLETE = "__complete__"
"""The name of the function, in a module's namespace, that executes the rest."""
MARK = "__mark__"
"""The name of what `plugin(Config, ...)` returned."""
Statements: TypeAlias = list[ast.stmt]
Import: TypeAlias = ast.Import | ast.ImportFrom
N = TypeVar("N", bound=ast.stmt)


def split(file: Path) -> tuple[Statements, Statements]:
    """The statements without a heavy module, and the rest; each in order.

    Of a plugin whose class or factory is in the rest, the first part evaluates `@plugin(...)`. All
    is in one part if the order could matter: if a statement does more than bind a new name.
    """
    tree = tree_of(file)
    heavy = heavy_names(tree, file)
    if not heavy:
        return tree.body, []
    if heavy == _all_bindings(tree):
        return [], tree.body
    marks = {id(node): mark for node, mark in plugin_marks(tree)}
    first: Statements = []
    rest: Statements = []
    for node in tree.body:
        if isinstance(node, Import):
            for part, is_heavy in ((first, False), (rest, True)):
                names = [one for one in node.names if (_bound(one) in heavy) is is_heavy]
                part += [_copy(node, names=names)] if names else []
        elif not bindings(node) & heavy:
            first.append(_completing(node, heavy) if isinstance(node, ast.ClassDef) else node)
        elif isinstance(node, Definition) and (mark := marks.get(id(node))):
            others = [one for one in node.decorator_list if one is not mark]
            first.append(ast.copy_location(ast.Assign([ast.Name(MARK, ast.Store())], mark), node))
            rest.append(_copy(node, decorator_list=[ast.Name(MARK, ast.Load()), *others]))
        else:
            rest.append(node)
    return first, rest


@lru_cache(maxsize=1024)
def heavy_names(tree: ast.Module, file: Path) -> frozenset[str]:
    """The names that only the rest of a file binds."""
    imports = [node for node in tree.body if isinstance(node, Import)]
    heavy = {_bound(one) for node in imports for one in node.names if _is_heavy(node, one, file)}
    others = [node for node in tree.body if not isinstance(node, Import)] if heavy else []
    uses = [(bindings(node), _read_by_definition(node)) for node in others]
    while found := [bound for bound, read in uses if read & heavy and not bound <= heavy]:
        heavy = heavy.union(*found)
    marks = [mark for _, mark in plugin_marks(tree)]
    if heavy and (not _only_binds(tree) or any(_read(mark) & heavy for mark in marks)):
        return _all_bindings(tree)
    return frozenset(heavy)


def _all_bindings(tree: ast.Module) -> frozenset[str]:
    return frozenset(name for node in tree.body for name in bindings(node))


def _only_binds(tree: ast.Module) -> bool:
    """Whether every statement binds names that no other one binds, and at most one is a plugin."""
    names = [name for node in tree.body for name in bindings(node)]
    docs = [node for node in tree.body if isinstance(node, ast.Expr)]
    is_known = all(isinstance(node.value, ast.Constant) for node in docs)
    is_bound = all(bindings(node) or node in docs for node in tree.body)
    return is_known and is_bound and len(names) == len({*names}) and len([*plugin_marks(tree)]) <= 1


def _is_heavy(node: Import, one: ast.alias, file: Path) -> bool:
    """Whether an import of this name imports a heavy module."""
    if isinstance(node, ast.ImportFrom) and node.level:
        module = imported_file(node, file)
        return module is None or one.name in heavy_names(tree_of(module), module)
    module = node.module or "" if isinstance(node, ast.ImportFrom) else one.name
    root, *inside = module.split(".")
    return not set(inside[:1]) <= ROOMS if root == "etude" else root not in LIBRARIES


def bindings(node: ast.stmt) -> set[str]:
    """The names that a statement binds; empty for one that does anything else."""
    if isinstance(node, Definition):
        return {node.name}
    if isinstance(node, Import):
        is_plain = "*" not in [one.name for one in node.names]
        return {_bound(one) for one in node.names} if is_plain else set()
    targets = node.targets if isinstance(node, ast.Assign) else []
    targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
    names = [one for target in targets for one in _parts(target)]
    is_plain = all(isinstance(one, ast.Name) for one in names)
    return {one.id for one in names if isinstance(one, ast.Name)} if is_plain else set()


def _parts(target: ast.expr) -> list[ast.expr]:
    return target.elts if isinstance(target, ast.Tuple) else [target]


def _bound(one: ast.alias) -> str:
    return one.asname or one.name.partition(".")[0]


def _read_by_definition(node: ast.stmt) -> set[str]:
    """The names that a statement reads, except those that only methods of a class read."""
    if not isinstance(node, ast.ClassDef):
        return _read(node)
    parts: list[ast.AST] = []
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.FunctionDef):
            parts += [*part.decorator_list, part.args, *([part.returns] if part.returns else [])]
        else:
            parts.append(part)
    return set[str]().union(*map(_read, parts))


def _completing(node: ast.ClassDef, heavy: frozenset[str]) -> ast.ClassDef:
    """A class whose methods execute the rest of the file first, if they read a name of it."""
    body: Statements = []
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and _read_by_body(part) & heavy:
            at = 0 if ast.get_docstring(part) is None else 1
            call = ast.Expr(ast.Call(ast.Name(COMPLETE, ast.Load()), [], []))
            call = ast.copy_location(call, part.body[-1])
            part = _copy(part, body=[*part.body[:at], call, *part.body[at:]])
        body.append(part)
    return _copy(node, body=body)


def _read_by_body(function: ast.FunctionDef) -> set[str]:
    """The names outside a function that its body reads."""
    own = {one.arg for one in ast.walk(function.args) if isinstance(one, ast.arg)}
    names = [one for one in ast.walk(function) if isinstance(one, ast.Name)]
    own |= {one.id for one in names if isinstance(one.ctx, ast.Store)}
    return set[str]().union(*map(_read, function.body)) - own


def _read(node: ast.AST) -> set[str]:
    names = (one for one in ast.walk(node) if isinstance(one, ast.Name))
    return {one.id for one in names if isinstance(one.ctx, ast.Load)}


def _copy(node: N, **changed: object) -> N:
    """A copy, because the trees are shared."""
    made = copy.copy(node)
    for name, value in changed.items():
        setattr(made, name, value)
    return made
