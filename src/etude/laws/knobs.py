"""The law of knobs: the code of a plugin reads each of them, and uses what it reads."""

import ast
from collections.abc import Iterator

from etude.config.plugin_files import source_files
from etude.config.plugin_source import describe
from etude.config.source_tree import tree_of
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, not_applicable

WHOLE = ("vars", "asdict", "astuple", "fields", "getattr")
"""Functions that read a config without naming its knobs."""


def every_knob_is_read(trial: Trial) -> Finding:
    """Each knob is read outside the checks of the config, and not only to be stored."""
    plugin = trial.plugin
    files = source_files(plugin.file)
    inherited = {
        name
        for base in plugin.config.__mro__
        if base.__module__.split(".")[:2] != plugin.config.__module__.split(".")[:2]
        for name in vars(base).get("__annotations__", {})
    }
    knobs = [k.name for k in describe(plugin.address).knobs if k.home in files]
    knobs = [name for name in knobs if name not in inherited]  # which the core reads
    if not knobs:
        return not_applicable("it has no knobs of its own")
    nodes = [node for file in files for node in _code(tree_of(file))]
    calls = (node.func for node, _ in nodes if isinstance(node, ast.Call))
    if any(isinstance(called, ast.Name) and called.id in WHOLE for called in calls):
        return held("its code reads its config as a whole")
    public = {f"self.{name}" for name in dir(plugin.build)}  # a base class may read these
    idle = [name for name in knobs if not _is_used(name, nodes, public)]
    if idle:
        return broken(f"no code uses {', '.join(idle)}")
    return held(", ".join(knobs))


Node = tuple[ast.AST, bool]
"""A node of a syntax tree, and whether `self` is a config there."""


def _code(tree: ast.AST, in_config: bool = False) -> Iterator[Node]:
    """Yields every node, except those of the checks in `__post_init__`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "__post_init__":
            continue
        if isinstance(node, ast.ClassDef):
            in_config = any(isinstance(item, ast.AnnAssign) for item in node.body) and any(
                ast.unparse(mark).startswith("dataclass") for mark in node.decorator_list
            )
        yield node, in_config
        yield from _code(node, in_config)


def _is_used(name: str, nodes: list[Node], public: set[str]) -> bool:
    """Whether a knob is read, and if it is only stored, whether that is read."""
    stored = [node for node, _ in nodes if isinstance(node, ast.Assign | ast.AnnAssign)]
    targets = {
        ast.unparse(target)
        for node in stored
        if isinstance(node.value, ast.Attribute) and node.value.attr == name
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    }
    only_stored = {id(node.value) for node in stored}
    reads = [n for n, in_config in nodes if _reads(n, name, in_config)]
    if targets & public or any(id(node) not in only_stored for node in reads):
        return True
    return any(
        isinstance(node, ast.Name | ast.Attribute)
        and isinstance(node.ctx, ast.Load)
        and ast.unparse(node) in targets
        for node, _ in nodes
    )


def _reads(node: ast.AST, name: str, in_config: bool) -> bool:
    """Whether a node is `config.name`, or `self.name` in a config."""
    if not isinstance(node, ast.Attribute) or node.attr != name:
        return False
    is_self = isinstance(node.value, ast.Name) and node.value.id == "self"
    return isinstance(node.ctx, ast.Load) and (in_config or not is_self)
