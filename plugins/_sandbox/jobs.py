"""The jobs: a program with its tests, a program's output, and scores of answers, one by one."""

import math
import os
import resource
import select
import sys
import types
from collections.abc import Callable, Iterator

from . import audit_hook, isolation, system_calls

READY = b"R"
"""Written before any text of a policy is run: what fails earlier is not its fault."""
N_PROOF = 32
"""Bytes of the proof that a program reached its end."""
N_OUTPUT = 2**16
"""Most bytes of a program's output; the rest is cut."""
N_SIZE = 4
"""Bytes of the size that precedes a text."""
N_SCORE = 32
"""Most bytes of a score."""
N_THREADS = 64


class Job:
    """What a job reads and writes, and the limits of a program in it."""

    def __init__(self, seconds: float, is_trusted: bool, result: int) -> None:
        self.seconds = seconds
        self.is_trusted = is_trusted
        self.result = result
        self.request = os.dup(0)
        self.null = os.open(os.devnull, os.O_RDWR)

    def texts(self) -> Iterator[str]:
        """Reads one text at a time, so that the next is not in memory; exits after the last."""
        read = os.read  # a program may replace it

        def exactly(n: int) -> bytes:
            data = b""
            while len(data) < n:
                chunk = read(self.request, n - len(data))
                if not chunk:
                    os._exit(0)
                data += chunk
            return data

        while True:
            yield exactly(int.from_bytes(exactly(N_SIZE), "big")).decode("utf-8", "surrogatepass")

    def begin(self) -> None:
        """Closes the standard streams, which have served for errors until now."""
        for descriptor in (0, 1, 2):
            os.dup2(self.null, descriptor)
        os.close(self.null)
        os.write(self.result, READY)

    def forbid(self) -> None:
        """Leaves this process only what a program needs, for good."""
        limit(resource.RLIMIT_CPU, math.ceil(self.seconds))
        limit(resource.RLIMIT_NPROC, 0 if self.is_trusted else N_THREADS)
        if self.is_trusted:
            audit_hook.install()
        else:
            system_calls.forbid_all_others(isolation.LIBC)


def limit(kind: int, value: int) -> None:
    """Sets a limit for good; the system's own stays where it is lower."""
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def run_tests(job: Job) -> None:
    """Runs a program, then its tests, and writes the proof that follows them if both end."""
    write, execute, parse = os.write, exec, compile  # a program may replace these
    following = job.texts().__next__
    sys.modules["__main__"] = types.ModuleType("__main__")
    scope = vars(sys.modules["__main__"])
    job.forbid()
    job.begin()
    for _ in range(2):
        execute(parse(following(), "program", "exec"), scope)
    write(job.result, following().encode())


def run_output(job: Job) -> None:
    """Runs a program whose standard output is the result, ended by the error that it raises."""
    program = next(job.texts())
    sys.modules["__main__"] = types.ModuleType("__main__")
    job.forbid()
    job.begin()
    os.dup2(job.result, 1)
    try:
        exec(compile(program, "program", "exec"), vars(sys.modules["__main__"]))
    except BaseException as error:  # a program may raise anything; show it
        print(f"{type(error).__name__}: {error}")
    sys.stdout.flush()


def run_scores(job: Job) -> None:
    """Runs a program that defines `score(answer) -> float`, then scores each text that follows.

    Each is scored in a process of its own. Writes a line for each, empty without a score in time.
    """
    texts = job.texts()
    scope: dict[str, Callable[[str], float]] = {}
    exec(compile(next(texts), "scorer", "exec"), scope)  # pyright: ignore -- see above
    job.begin()
    for answer in texts:
        ours, theirs = os.pipe()
        process = os.fork()
        if process == 0:
            for descriptor in (job.request, job.result, ours):
                os.close(descriptor)
            job.forbid()
            os.write(theirs, repr(float(scope["score"](answer))).encode())
            os._exit(0)
        os.close(theirs)
        is_done = select.select([ours], [], [], job.seconds)[0]
        score = os.read(ours, N_SCORE) if is_done else b""
        os.kill(process, isolation.SIGKILL)
        os.waitpid(process, 0)
        os.close(ours)
        os.write(job.result, score.replace(b"\n", b"") + b"\n")
