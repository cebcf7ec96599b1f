"""Damages files: flips, cuts, and JSON of unexpected forms."""

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

DEEP = "[" * 100_000 + "]" * 100_000


def flip(file: Path, random: Random) -> bytes:
    """Flips one random bit of a file, and returns its content before."""
    whole = file.read_bytes()
    place = random.randrange(8 * len(whole))
    flipped = bytearray(whole)
    flipped[place // 8] ^= 1 << place % 8
    file.write_bytes(flipped)
    return whole


def cuts(whole: bytes) -> Iterator[bytes]:
    """Yields beginnings of a file, and a file with its last byte doubled."""
    yield from (whole[:size] for size in (0, 1, len(whole) // 2, len(whole) - 1))
    yield whole + whole[-1:]


def malformed(good: dict[str, Any], every: int = 1) -> Iterator[bytes]:
    """Yields files that are not a JSON object, and `good` with values of other types.

    With `every`, only each so many of the values.
    """
    yield from (text.encode() for text in ("", "{", "[]", "7", '"x"', "null", DEEP))
    yield b"\x00\xff\xfe\x80" * 20
    yield b'{"a": NaN}'
    values = (None, [], {}, "x", -1, [[]], {"x": []}, float("nan"), 2.5, True)
    for name, value in list(product(good, values))[::every]:
        yield json.dumps({**good, name: value}).encode()
    for name in list(good)[::every]:
        yield json.dumps({key: value for key, value in good.items() if key != name}).encode()


def all_files(folder: Path) -> list[Path]:
    """Every file with content below a folder, in order."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size]
