"""Real English documents of several kinds, which every installation of the tests has."""

import argparse
import ast
import inspect
import logging
import subprocess
import typing
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distributions
from pydoc_data.topics import topics

MODULES = (argparse, ast, inspect, logging, subprocess, typing)


@cache
def documents() -> tuple[str, ...]:
    """The Python reference, docstrings of its library, and descriptions of installed packages."""
    return tuple(dict.fromkeys((*topics.values(), *_docstrings(), *_descriptions())))


def _docstrings() -> Iterator[str]:
    for module in MODULES:
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield ast.get_docstring(node) or "No text."


def _descriptions() -> Iterator[str]:
    for package in sorted(distributions(), key=lambda one: one.name.lower()):
        yield str(package.metadata.json.get("description", "No text."))[:20_000]
