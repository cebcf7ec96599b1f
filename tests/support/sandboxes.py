"""Whether this system can isolate programs, and which processes run them."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

UNSHARE = ("unshare", "--user", "--map-root-user")
"""Starts a program in a user namespace, as root of a container with no other user."""


def has_namespaces() -> bool:
    """Whether a user may make user namespaces, tried without our code."""
    try:
        return subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


isolates = pytest.mark.skipif(not has_namespaces(), reason="needs unshare and user namespaces")


def processes_of(trainer: int) -> set[int]:
    """The processes with jobs of a trainer, whose id is among their arguments."""
    found: set[int] = set()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended
        if {b"tests", b"scores"} & {*words} and str(trainer).encode() in words:
            found.add(int(file.parent.name))
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits until a condition holds, at most 5 s."""
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
