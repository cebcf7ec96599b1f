"""Reads YAML files that anybody may have written, within limits.

A few lines with aliases of aliases stand for billions of values ("billion laughs").
"""

from pathlib import Path
from typing import Any, cast

import yaml

from etude.errors import ConfigError
from etude.files.bounded import read_bounded

MAX_BYTES = 2**20
MAX_VALUES = 100_000
"""The most values in a file; each use of an alias counts as a copy."""
MAX_DEPTH = 64


def read_yaml(file: Path) -> Any:
    """The content of a file. Raises ConfigError if it is no YAML or too large, or OSError."""
    try:
        loader = yaml.SafeLoader(read_bounded(file, MAX_BYTES))
        root = loader.get_single_node()
        n_values, depth = _size(root, {}) if root else (0, 0)
        if n_values > MAX_VALUES:
            raise too_large(file, f"{MAX_VALUES:,} values, counting those of aliases")
        if depth > MAX_DEPTH:
            raise too_large(file, f"{MAX_DEPTH} levels of nesting")
        return loader.construct_document(root) if root else None
    except RecursionError as error:
        raise too_large(file, f"{MAX_DEPTH} levels of nesting") from error
    except (yaml.YAMLError, ValueError) as error:  # such as a number of a million digits
        raise ConfigError(f"{file} is not valid YAML: {error}") from error


def too_large(file: Path, limit: str) -> ConfigError:
    """The error for a file that exceeds a limit."""
    return ConfigError(f"{file} has more than {limit}.\n  étude reads no such YAML file.")


def _size(node: yaml.Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """The number of values in a node, and its depth; what contains itself is too deep."""
    if id(node) not in known:
        known[id(node)] = 0, MAX_DEPTH
        parts = [] if isinstance(node, yaml.ScalarNode) else cast(list[Any], node.value)
        sizes = [_size(one, known) for part in parts for one in _nodes(part)]
        known[id(node)] = 1 + sum(n for n, _ in sizes), 1 + max((d for _, d in sizes), default=0)
    return known[id(node)]


def _nodes(part: Any) -> tuple[yaml.Node, ...]:
    """The nodes in a part of a collection: an item, or a key and its value."""
    return part if isinstance(part, tuple) else (part,)
