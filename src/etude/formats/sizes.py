"""Compares the sizes in the config of a foreign model with its weights, before memory is allocated.

A network is built on the meta device, where tensors have shapes alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from etude.config.config_file import nodes
from etude.config.registry import build
from etude.data.vocab import Vocab
from etude.errors import CheckpointError

FREE = {"window", "max_positions", "trained_positions", "max_distance", "multiple_of"}
"""Integers that no tensor must have as a size; all others are such a size, or count tensors."""
LARGEST = 2**31
"""Limit of the integers of FREE."""
MOST_TIMES = 4
"""A network may have this many times the numbers of its files: tensors can be shared or padded."""
FREE_NUMBERS = 2**24
"""The numbers that it may have besides: constants, rows for new tokens."""


def require_sizes(
    file: Path, given: Mapping[str, Any], config: Any, vocab: Vocab, weights: Sequence[Path]
) -> None:
    """Raises CheckpointError if `config`, read from the fields of a file, cannot have its weights.

    There are no more layers or heads than tensors, rows or columns.
    """
    shapes = [shape for one in weights for shape in _shapes(one)]
    require_integers(file, given, config, shapes)
    n_stored = sum(map(prod, shapes))
    n_needed = _n_numbers(config, vocab)
    if n_needed > MOST_TIMES * n_stored + FREE_NUMBERS:
        raise _too_large(file, given, f"{n_needed:.3g} numbers, and there are {n_stored:.3g}")


def require_integers(
    file: Path, given: Mapping[str, Any], config: Any, shapes: Sequence[Sequence[int]]
) -> None:
    """Raises CheckpointError for sizes that no network or adapter with these tensors can have."""
    largest = max((len(shapes), *(n for shape in shapes for n in shape)))
    for name, value in _integers(config):
        if type(value) is not int:
            same = [f"{key}={one!r}" for key, one in given.items() if one == value]
            raise CheckpointError(
                f"{file}: {name} must be an integer, got {value!r} ({', '.join(same)})."
            )
        if value > (LARGEST if name in FREE else largest):
            raise _too_large(file, given, f"{name}={value}, and no size is more than {largest}")


def _too_large(file: Path, given: Mapping[str, Any], reason: str) -> CheckpointError:
    sizes = {key: value for key, value in given.items() if type(value) is int}
    top = sorted(sizes, key=lambda key: -sizes[key])[:3]
    return CheckpointError(
        f"{file} describes a larger network than its weights are of: it would have {reason}.\n"
        f"  Its largest fields are {', '.join(f'{key}={sizes[key]}' for key in top)}."
    )


def _shapes(file: Path) -> list[list[int]]:
    """The shapes of the tensors in a file, from its header."""
    try:
        with safe_open(file, "pt") as opened:
            return [opened.get_slice(name).get_shape() for name in opened.keys()]  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from error


def _integers(config: Any) -> Iterator[tuple[str, Any]]:
    """Yields the values of a config and its parts that must be integers, by name."""
    for _, node in nodes({"architecture": config}):
        for item in fields(node):
            value = vars(node)[item.name]
            if item.type is int or (item.type == int | None and value is not None):
                yield item.name, value


def _n_numbers(config: Any, vocab: Vocab) -> float:
    """The size of a network; infinite if torch cannot express it."""
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            return sum(tensor.numel() for tensor in build(config, vocab).state_dict().values())
    except (RuntimeError, OverflowError):
        return float("inf")
