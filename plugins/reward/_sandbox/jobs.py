"""What the child process does inside the sandbox: run a program with its tests, or score answers."""

import math
import os
import resource
import select
import sys
import types
from collections.abc import Iterator
from typing import Final

from . import audit_hook, isolation, system_calls

READY: Final = b"R"
"""The first byte of a result, written before any text of a policy is read."""
N_PROOF: Final = 32
"""Bytes of the proof that a program reached its end."""
N_SCORE: Final = 32
"""Most bytes of a score, with the end of its line."""
N_THREADS: Final = 64
N_OPEN_FILES: Final = 64
FILE_BYTES: Final = 2**20
"""Size limit of a file that a trusted program writes."""


class Job:
    """One job; its texts are read from `request` one by one, its result is written to `result`.

    `sizes` are those of the texts in bytes; `view` lists what the job may see of the host, and is
    empty if it is trusted and not isolated.
    """

    def __init__(self, request: int, result: int, sizes: list[int], view: list[str]) -> None: ...
