"""The process in which `sandbox` does a job; it imports nothing but the standard library.

It forks. The parent watches the time; its child is process 1 of new namespaces, so that its end is
the end of all that it started. It dies with its parent, and this dies with the trainer, however
they end. A trusted job shares the namespaces of the trainer.
"""

import math
import os
import resource
import select
import sys
import time
import types
from collections.abc import Callable, Iterator

from . import audit_hook, isolation

READY = b"R"
"""Written before any text of a policy is read."""
N_PROOF = 32
"""Bytes of the proof that a program reached its end."""
N_SCORE = 32
"""Most bytes of a score, with the end of its line."""
N_THREADS = 64
N_OPEN_FILES = 64
FILE_BYTES = 2**20
"""Size limit of a file that a trusted program writes."""


def main() -> None:
    """Does one job and writes `READY` and its result to standard output.

    The job is `tests` (see `run_tests`) or `scores` (see `run_scores`) with the texts of standard
    input. The other arguments: the process id of the trainer, the limits of time in seconds and of
    memory in bytes, the sizes of the texts in bytes, joined by commas, and the files of the host
    that the job may see; none = it is trusted.
    """
    job, trainer, seconds, memory, joined, *view = sys.argv[1:]
    sizes = [int(size) for size in joined.split(",")]
    if view:
        isolation.enter_namespaces()
    if sys.platform == "linux":
        isolation.die_with_parent()
    if os.getppid() != int(trainer):
        return  # it died before this process was bound to it
    alive, results = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.close(alive[1])
        os.close(results[0])
        null = os.open(os.devnull, os.O_RDWR)
        confine(view, int(memory))
        if not select.select([alive[0]], [], [], 0)[0]:  # its other end is open: the parent lives
            request = os.dup(0)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            for descriptor in (null, alive[0]):
                os.close(descriptor)
            del sys.argv[1:]
            run = run_tests if job == "tests" else run_scores
            run(texts(request, sizes), results[1], lambda: forbid(view, math.ceil(float(seconds))))
        os._exit(0)
    os.close(results[1])
    ready = os.read(results[0], len(READY))
    ...


def confine(view: list[str], memory: int) -> None:
    """Limits this process for good, and hides the host unless the job is trusted."""
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_NOFILE, N_OPEN_FILES)
    if sys.platform != "darwin":  # which refuses to set it
        limit(resource.RLIMIT_AS, memory)
    if view:
        isolation.hide_host(view)
        isolation.drop_rights()
    else:
        limit(resource.RLIMIT_FSIZE, FILE_BYTES)
        if sys.platform == "linux":
            isolation.leave_network()
