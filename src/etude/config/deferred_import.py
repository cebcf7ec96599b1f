"""Imports plugins and faces in two parts, so that configs are checked before torch is imported.

Importing torch takes seconds. The import of a plugin, of a private module or of the face of a room
executes only the statements that need no heavy module. Reading another name of the module executes
the rest in the same namespace. So each statement is executed once, and each class exists once.
"""

import ast
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from threading import RLock
from types import ModuleType

from etude.config.import_parts import COMPLETE, ROOMS, Statements, split
from etude.config.plugin_files import ROOT
from etude.config.source_tree import SOURCE


class DeferringLoader(SourceFileLoader):
    """Executes the first part of a file on import, and the rest when a name of it is read."""

    def __init__(self, fullname: str, path: str) -> None:
        super().__init__(fullname, path)
        self._lock = RLock()
        self._rest: Statements = []

    def exec_module(self, module: ModuleType) -> None:
        """Executes the first part; the whole file, as Python does, if it has no other."""
        first, self._rest = split(Path(self.path))
        if not self._rest:
            super().exec_module(module)
            return
        vars(module)[COMPLETE] = lambda: self.complete(module)
        vars(module)["__getattr__"] = lambda name: self._missing(module, name)
        self._execute(first, module)

    def complete(self, module: ModuleType) -> None:
        """Executes the rest, unless it is executed already, or is being executed."""
        with self._lock:
            rest, self._rest = self._rest, []
            failed = True
            try:
                self._execute(rest, module)
                failed = False
            finally:
                self._rest = rest if failed else []

    def _missing(self, module: ModuleType, name: str) -> object:
        """Returns an attribute that the first part did not set."""
        # Python asks a package for its modules, and any module for names such as __path__.
        is_module = self.is_package(module.__name__) and Path(self.path).with_name(f"{name}.py")
        if not name.startswith("__") and not (is_module and is_module.is_file()):
            self.complete(module)
        if name not in vars(module):
            text = f"module {module.__name__!r} has no attribute {name!r}"
            raise AttributeError(text, name=name, obj=module)
        return vars(module)[name]

    def _execute(self, statements: Statements, module: ModuleType) -> None:
        tree = ast.fix_missing_locations(ast.Module(statements, []))
        exec(compile(tree, self.path, "exec", dont_inherit=True), vars(module))


class DeferringFinder(MetaPathFinder):
    """Finds plugins, their private modules, and the faces of rooms that import heavy modules."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Finds such a module as Python does; None for any other."""
        root, _, name = fullname.partition(".")
        is_face = name not in ROOMS and (SOURCE / name / "__init__.py").is_file()
        if root != "etude" or not (fullname.startswith(f"{ROOT}.") or is_face):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = DeferringLoader(fullname, spec.loader.path)
        return spec


def install() -> None:
    """Adds the finder in front of Python's own, and behind those that instrument modules."""
    if not any(isinstance(finder, DeferringFinder) for finder in sys.meta_path):
        sys.meta_path.insert(sys.meta_path.index(PathFinder), DeferringFinder())


def complete(module: ModuleType) -> None:
    """Executes what was not executed of a module."""
    loader = module.__spec__ and module.__spec__.loader
    if isinstance(loader, DeferringLoader):
        loader.complete(module)
