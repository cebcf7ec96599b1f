"""Processes that share the work on a list of items, with the results in the order of the items.

Each is a new Python that imports what its function needs (about 40 MB), and not a fork: libraries
such as torch and tokenizers have threads, and a fork may wait forever for one that it lacks. It
ends when its parent does, because its input ends.
"""

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import IO, Any, Final, TypeVar

from etude.errors import DataError

MAX_WORKERS: Final = 8
"""With more of them, the process that writes the results would be the slowest."""
MIN_BYTES: Final = 2**25
"""Less text is prepared by one process before the others have started."""
AHEAD: Final = 2
"""Items of each worker whose results wait for those of earlier items."""
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class _Worker:
    """A process that calls one function after the other."""

    def __init__(self) -> None:
        own = {"PYTHONPATH": os.pathsep.join(sys.path), "TOKENIZERS_PARALLELISM": "false"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | own | {"OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the parent
        )
        self._function: Callable[..., Any] | None = None

    def result(self, function: Callable[[ItemT], ResultT], item: ItemT) -> tuple[bool, ResultT]:
        """Whether the function returned, and what. Raises DataError if the process ended."""
        new = None if function is self._function else function  # sent once
        self._function = function
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            _send(self._process.stdin, (new, item))
            return pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            raise DataError(
                f"A process that prepares data ended with code {self._process.wait()}, perhaps for "
                "lack of memory.\n  Run the command again; what is already prepared is kept."
            ) from error

    def kill(self) -> None:
        """Ends the process; a thread that waits for a result gets an error."""
        self._process.kill()

    def close(self) -> None:
        """Closes the pipes of a process that was killed."""
        with suppress(BrokenPipeError), self._process:
            pass


class Workers:
    """The processes of one preparation, which start when they are first needed."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._threads = ThreadPoolExecutor(n)
        self._all: list[_Worker] = []

    def pay(self, n_bytes: int) -> bool:
        """Whether they are faster than this process alone, for so much text."""
        return self.n > 1 and n_bytes >= MIN_BYTES

    def map(
        self, function: Callable[[ItemT], ResultT], items: Iterable[ItemT]
    ) -> Iterator[ResultT]:
        """Yields `function(item)` for each item, in order; items and results are pickled.

        An error of the function is raised here, with its traceback.
        """
        waiting: deque[Future[ResultT]] = deque()
        for item in items:
            self._start()
            waiting.append(self._threads.submit(self._call, function, item))
            if len(waiting) > AHEAD * self.n:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def stop(self) -> None:
        """Ends the processes, also in the middle of an item."""
        for worker in self._all:
            worker.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._all:
            worker.close()

    def _start(self) -> None:
        while len(self._all) < self.n:
            self._all.append(_Worker())
            self._idle.put(self._all[-1])

    def _call(self, function: Callable[[ItemT], ResultT], item: ItemT) -> ResultT:
        worker = self._idle.get()
        try:
            has_returned, result = worker.result(function, item)
        finally:
            self._idle.put(worker)
        return result if has_returned else function(item)  # raises the same error, in this process


@contextmanager
def workers() -> Generator[Workers]:
    """A worker for each core that this process may use."""
    made = Workers(min(MAX_WORKERS, _n_cores()))
    try:
        yield made
    finally:
        made.stop()


def _n_cores() -> int:
    """The cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _send(stream: IO[bytes], value: object) -> None:
    pickle.dump(value, stream, pickle.HIGHEST_PROTOCOL)
    stream.flush()


def serve() -> None:
    """Calls the functions that it receives, until its parent ends."""
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a plugin prints is no result
    function: Callable[[Any], Any] | None = None
    while True:
        try:
            new, item = pickle.load(sys.stdin.buffer)
        except (EOFError, pickle.UnpicklingError):  # the second: in the middle of an item
            return
        function = new or function
        assert function is not None
        try:
            answer = True, function(item)
        except Exception:  # whatever a plugin raises; the parent calls the function itself
            answer = False, None
        try:
            _send(results, answer)
        except BrokenPipeError:
            os._exit(0)  # without writing the rest
