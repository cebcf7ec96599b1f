"""The text in every Python installation: the language reference and the library's docstrings.

It differs slightly between builds of Python; `fingerprint` identifies the build.
"""

import ast
import hashlib
import importlib.util
import sys
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SKIPPED = {"site-packages", "dist-packages", "test", "tests", "idlelib", "pydoc_data"}
REQUEST = "Write the one-line summary of this documentation."
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, order=True)
class Docstring:
    """The docstring of a module, class or function, with its indentation removed."""

    text: str
    name: str
    """Dotted name with the module: `json.decoder.JSONDecoder.decode`."""


@dataclass(frozen=True)
class Summary:
    """A request to summarise the body of a docstring, and its author's summary line."""

    request: str
    line: str


def topics() -> dict[str, str]:
    """The chapters of the language reference that `help()` shows; empty if not installed."""
    if importlib.util.find_spec("pydoc_data") is None:
        return {}
    from pydoc_data.topics import topics as chapters

    return dict(sorted(chapters.items()))


def sources() -> Iterator[tuple[str, str]]:
    """Module names and source texts of the standard library, sorted, without its tests and IDE."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for file in sorted(root.rglob("*.py")):
        place = file.relative_to(root).with_suffix("")
        if SKIPPED.isdisjoint(place.parts):
            try:
                with tokenize.open(file) as opened:
                    text = opened.read()
            except (SyntaxError, UnicodeDecodeError):  # a test fixture of the library
                continue
            yield ".".join(place.parts).removesuffix(".__init__"), text


@cache
def docstrings() -> tuple[Docstring, ...]:
    """Every distinct docstring of the standard library, sorted; cached, as it takes seconds."""
    found: dict[str, str] = {}
    for module, text in sources():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about invalid escapes in old files
            try:
                tree = ast.parse(text)
            except SyntaxError:
                continue
        for name, docstring in _docstrings_below(tree, module):
            found.setdefault(docstring, name)
    return tuple(sorted(Docstring(text, name) for text, name in found.items()))


def summaries() -> list[Summary]:
    """Requests with their summaries, for the docstrings that have both a summary and a body."""
    found: dict[str, str] = {}
    for docstring in docstrings():
        line, _, body = docstring.text.partition("\n\n")
        if "\n" not in line and 10 <= len(line) <= 120 and 40 <= len(body.strip()) <= 600:
            found.setdefault(f"{REQUEST}\n\n{body.strip()}", line.strip())
    return [Summary(request, line) for request, line in sorted(found.items(), key=by_hash)]


def by_hash(item: object) -> bytes:
    """Sort key for a deterministic shuffle."""
    return hashlib.sha256(repr(item).encode()).digest()


def fingerprint() -> str:
    """A digest that changes with the build of Python, and therefore with its texts."""
    build = (sys.version, sys.implementation.name, str(len(topics())))
    return hashlib.sha256("\n".join(build).encode()).hexdigest()


def _docstrings_below(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, _DOCUMENTED) and (docstring := ast.get_docstring(node)):
        yield name, docstring
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):  # nothing is defined inside an expression
            continue
        below = f"{name}.{child.name}" if isinstance(child, _DOCUMENTED[1:]) else name
        yield from _docstrings_below(child, below)
