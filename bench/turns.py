"""Runs contenders in turns, so that whatever slows the machine slows all of them equally.

Each contender has its own process, with its own allocator, threads and global settings, and sleeps
while another one works. A complete training loop can take part: it waits for its turn before each
step.
"""

import itertools
import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

WARM_UP = 3
"""Turns that are not counted."""

Pause = Callable[[], None]
Loop = Callable[[str, Pause], None]
"""`loop(name, pause)` trains as the contender `name`, calling `pause()` before each step."""


def race(loop: Loop, names: list[str], steps: int, rounds: int) -> dict[str, float]:
    """The median seconds per step of each contender, over `rounds` turns of `steps` steps."""
    spawn = multiprocessing.get_context("spawn")
    lines: dict[str, Connection] = {}
    processes = []
    for name in names:
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=_compete, args=(loop, name, steps, theirs), daemon=True)
        process.start()
        ours.recv()  # ready for its first step, before the next one loads the machine
        lines[name] = ours
        processes.append(process)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(WARM_UP + rounds):
        for name, line in lines.items():
            start = time.perf_counter()
            line.send(True)
            line.recv()
            seconds[name].append((time.perf_counter() - start) / steps)
    for process in processes:
        process.kill()
    return {name: statistics.median(turns[WARM_UP:]) for name, turns in seconds.items()}


def _compete(loop: Loop, name: str, steps: int, line: Connection) -> None:
    steps_done = itertools.count()

    def pause() -> None:
        if next(steps_done) % steps == 0:
            line.send(True)
            line.recv()

    loop(name, pause)
