"""How a process ends: immediately when a signal stops it, together with its child processes.

A stop signal never raises an exception: code that is running may catch whatever is raised in it.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Thread
from types import FrameType
from typing import NoReturn

from etude.errors import InterruptedRunError, PreemptedError

EXIT_CODES = {
    signal.SIGTERM: PreemptedError.exit_code,
    signal.SIGUSR1: PreemptedError.exit_code,  # SLURM's warning before a time limit
    signal.SIGINT: InterruptedRunError.exit_code,
}
"""The stop signals, and the exit code of a command that one of them stops."""
PATIENCE_S = 0.5
"""Seconds for the main thread to notice a signal: it cannot inside a call to a library."""
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def _print(text: str) -> None:
    """Prints to stderr, even while the main thread is printing."""
    with suppress(OSError):
        os.write(2, f"{text}\n".encode())


@dataclass
class _Stop:
    """A signal handler that ends the process, and says how to go on."""

    say: Callable[[str], object]
    hint: str = "Run the same command again; nothing that was saved is lost."

    def __call__(self, number: int, frame: FrameType | None) -> NoReturn:
        with suppress(RuntimeError, ValueError, OSError):  # interrupted while printing, or closed
            sys.stdout.flush()
        self.end(number)

    def end(self, number: int) -> NoReturn:
        end_process(number, self.hint, self.say)


def end_process(number: int, hint: str, say: Callable[[str], object] = _print) -> NoReturn:
    """Ends this process, for the stop signal `number`: no other code of it runs."""
    say(f"Stopped by {signal.Signals(number).name}. {hint}")
    os._exit(EXIT_CODES[signal.Signals(number)])


@contextmanager
def handling(handler: Callable[[int, FrameType | None], None]) -> Generator[None]:
    """Sets the handler of the stop signals."""
    before = {number: signal.signal(number, handler) for number in EXIT_CODES}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def ended_by_signals(say: Callable[[str], object] = _print) -> Generator[None]:
    """Lets a stop signal end this process immediately, unless another handler is set within.

    Python calls handlers between its own instructions, so a second thread watches for signals
    that arrive inside a call to a library, such as the training of a tokenizer.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    Thread(target=_watch, args=(reading,), daemon=True).start()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        with handling(_Stop(say)):
            yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)


@contextmanager
def hint_when_stopped(text: str) -> Generator[None]:
    """Sets what the process says after the name of the signal that ends it."""
    handlers = [signal.getsignal(number) for number in EXIT_CODES]
    before = [(handler, handler.hint) for handler in handlers if isinstance(handler, _Stop)]
    for stop, _ in before:
        stop.hint = text
    try:
        yield
    finally:
        for stop, hint in before:
            stop.hint = hint


def end_with_parent(number: int) -> None:
    """Sends a signal to this process when its parent ends; Linux only. Survives `exec`."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def _watch(reading: int) -> None:
    """Ends the process if the main thread does not, until the writing end is closed."""
    with open(reading, "rb", buffering=0) as signals:
        while received := signals.read(1):
            handler = signal.getsignal(received[0])
            if isinstance(handler, _Stop):
                time.sleep(PATIENCE_S)
                handler.end(received[0])


def _block() -> None:
    """Delays stop signals: a child that gets one before it is detached would tell its parent."""
    signal.pthread_sigmask(signal.SIG_BLOCK, EXIT_CODES)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, EXIT_CODES)


def _detach() -> None:
    """Detaches a forked child from its parent's pipe and handlers."""
    signal.set_wakeup_fd(-1)
    for number in EXIT_CODES:
        if isinstance(signal.getsignal(number), _Stop):
            signal.signal(number, signal.SIG_DFL)
    _unblock()


os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=_detach)
