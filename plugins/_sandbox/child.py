"""The process that `sandbox` starts for a job; it imports nothing but the standard library.

It forks. The parent watches the time; its child does the job, as process 1 of new namespaces, so
that its end is the end of all that it started. It dies with its parent, and this dies with the
trainer, however they end. A trusted job shares the namespaces of the trainer.
"""

import os
import resource
import select
import sys
import time

from . import isolation
from .jobs import N_OUTPUT, N_PROOF, READY, Job, limit, run_output, run_scores, run_tests

N_OPEN_FILES = 64
JOBS = {"tests": run_tests, "output": run_output, "scores": run_scores}
FILE_BYTES = 2**20
"""Size limit of a file that a trusted program writes."""


def main() -> None:
    """Does a job of JOBS: texts are standard input, the result is standard output.

    Arguments: the job; the process id of the trainer; the limits of time, in seconds, and of
    memory, in bytes; and the files of the host that the job may see: none = it is trusted.
    """
    name, trainer, seconds, memory, *view = sys.argv[1:]
    del sys.argv[1:]
    if view:
        isolation.enter_namespaces()
    if sys.platform == "linux":
        isolation.die_with_parent()
    if os.getppid() != int(trainer):
        return  # it died before this process was bound to it
    alive, results = os.pipe(), os.pipe()
    process = os.fork()
    if process == 0:
        os.setsid()
        os.close(alive[1])
        os.close(results[0])
        if name == "scores":
            os.dup2(1, results[1])
        job = Job(float(seconds), not view, results[1])
        confine(view, int(memory))
        is_orphan = bool(select.select([alive[0]], [], [], 0)[0])  # its other end is closed
        os.close(alive[0])
        if not is_orphan:
            JOBS[name](job)
        os._exit(0)
    os.close(results[1])
    if name == "scores":
        os.waitpid(process, 0)  # it watches the time itself, and ends with its input
    else:
        watch(process, results[0], float(seconds), N_PROOF + 1 if name == "tests" else N_OUTPUT)


def watch(process: int, result: int, seconds: float, most: int) -> None:
    """Passes on the result of a program and ends it, at the latest when its time is over."""
    found = os.read(result, len(READY))
    left, end = most, time.monotonic() + seconds
    while left and select.select([result], [], [], max(0.0, end - time.monotonic()))[0]:
        part = os.read(result, left)
        if not part:
            break  # it has ended
        found, left = found + part, left - len(part)
    os.killpg(process, isolation.SIGKILL)
    os.waitpid(process, 0)  # returns when nothing is left in the namespaces
    os.write(1, found)


def confine(view: list[str], memory: int) -> None:
    """Limits the memory and files of this process, and hides the host unless the job is trusted."""
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
            isolation.die_with_parent()
