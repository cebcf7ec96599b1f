"""Packs sequences of different lengths into rows."""

from bisect import bisect_left, insort
from collections.abc import Sequence


def pack_rows(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Indices of lengths, packed in rows of at most `room`: best fit, longest first."""
    rows: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (tokens free, row), sorted
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        best = bisect_left(free, (lengths[i], -1))
        if best == len(free):
            rows.append([])
            insort(free, (room, len(rows) - 1))
            best = len(free) - 1
        n_free, row = free.pop(best)
        rows[row].append(i)
        insort(free, (n_free - lengths[i], row))
    return sorted(rows, key=min)
