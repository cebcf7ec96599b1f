"""Starts one process for each rank of a run, and ensures that none outlives the run.

The ranks end with this process, however it ends, and hold the lock of the run folder until the last
of them has ended. When a rank fails, the others are ended before they can complain about it: each
rank reports its error to this process through a pipe, and only the first is shown.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType

from etude.errors import EtudeError, InterruptedRunError, PreemptedError
from etude.processes import end_with_parent, handling
from etude.training.resume import how_to_resume

POLL_S = 0.05
STUCK_S = 5.0
"""Seconds in which every rank that is not stuck ends, once one has waited too long for another."""
TIMED_OUT = re.compile(
    r"^\S*(RuntimeError|Dist\w*Error): .*timed out", re.IGNORECASE | re.MULTILINE
)
"""The error of a rank that has waited too long for another, as gloo and torch's store word it."""
MAX_REPORT = 12_000
"""Maximum length of a report in bytes: a pipe holds 16 KB or more."""
PIPE = "ETUDE_REPORTS_TO"
"""The environment variable with the pipe to which a launched rank reports."""


class RankFailedError(EtudeError):
    """A rank of the run failed, with the exit code of its error."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class _Rank:
    """A process that trains one rank."""

    def __init__(self, rank: int, command: Sequence[str], world: dict[str, str], lock: int) -> None:
        self.rank = rank
        self._reading, writing = os.pipe()
        os.set_blocking(self._reading, False)
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), PIPE: str(writing)}
        self.process = subprocess.Popen(
            command,
            env=os.environ | world | own,
            start_new_session=True,
            pass_fds=(lock, writing),
            preexec_fn=partial(end_with_parent, signal.SIGKILL),
        )
        os.close(writing)

    def report(self) -> tuple[int, str] | None:
        """Returns the time and the text of its error; None if it has reported none."""
        with suppress(BlockingIOError):
            at, _, text = os.read(self._reading, MAX_REPORT).decode(errors="ignore").partition("\n")
            return (int(at), text) if at else None
        return None

    def end(self) -> None:
        """Ends the process and those it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._reading)


def launch(folder: Path, n_ranks: int, lock: int) -> None:
    """Trains the run in `folder`; `lock` is the descriptor of its lock. Raises EtudeError."""
    command = [sys.executable, "-m", "etude.training.run", str(folder)]
    world = _world(n_ranks)
    ranks: list[_Rank] = []
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        is_second = number == signal.SIGINT and signal.SIGINT in received
        received.append(number)
        for rank in ranks:  # it saves at the end of its step
            rank.process.send_signal(signal.SIGKILL if is_second else signal.SIGTERM)

    with handling(stop):
        try:
            for rank in range(n_ranks):
                ranks.append(_Rank(rank, command, world, lock))
            while (codes := _exit_codes(ranks))[0] is None and not any(codes):
                time.sleep(POLL_S)
            if codes[0] != 0:
                raise _failure(ranks, received, folder)
        finally:
            for rank in ranks:
                rank.end()


def is_launched() -> bool:
    """Returns whether `launch` started this process, which then holds the lock of its run."""
    return PIPE in os.environ


def say_end(text: str) -> None:
    """Says why this process ends: to `launch` if that started it, else on stderr."""
    if not is_launched():
        print(text, file=sys.stderr)
        return
    end = text.encode()[-MAX_REPORT + 100 :].decode(errors="ignore")
    os.write(int(os.environ[PIPE]), f"{time.monotonic_ns()}\n{end}".encode())


def _world(n_ranks: int) -> dict[str, str]:
    """Returns what torchrun would set; with its variables, Lightning asks no job scheduler."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        "TORCHELASTIC_RUN_ID": "etude",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(n_ranks),
        "LOCAL_WORLD_SIZE": str(n_ranks),
    }


def _exit_codes(ranks: Sequence[_Rank]) -> list[int | None]:
    """Returns the exit codes of the ranks; None for one that is running."""
    return [rank.process.poll() for rank in ranks]


def _failure(ranks: Sequence[_Rank], received: Sequence[int], folder: Path) -> EtudeError:
    """Returns the error of the rank that failed first, with the exit code of the command."""
    codes = _exit_codes(ranks)
    killed = [rank.rank for rank, code in zip(ranks, codes, strict=True) if (code or 0) < 0]
    reports = sorted((*report, rank.rank) for rank in ranks if (report := rank.report()))
    saved = how_to_resume(folder)
    code = next(code for code in codes if code)
    if killed and received:
        text = f"Stopped by a signal before the step was saved.\n  {saved}"
        code = PreemptedError.exit_code
    elif killed and not (reports and codes[killed[0]] == -signal.SIGABRT):
        number = -(codes[killed[0]] or 0)
        name = signal.Signals(number).name
        text = f"{_named(killed)} killed by signal {number} ({name}).\n  {saved}"
        code = 1
    elif not reports:
        ended = codes.index(code)
        text = f"rank {ended} ended with exit code {code}.\n  {saved}"
    elif TIMED_OUT.search(reports[0][1]) and (stuck := _stuck(ranks)):
        text = (
            f"{_named(stuck)} stuck: the others have waited for it longer than "
            f"trainer.rank_timeout_s.\n  {saved}"
        )
    else:
        _, text, first = reports[0]
        code = codes[first] or code
    return _error(text, code, received)


def _stuck(ranks: Sequence[_Rank]) -> list[int]:
    """Returns the ranks that do not end by themselves: the others fail when one of them ends."""
    deadline = time.monotonic() + STUCK_S
    while None in (codes := _exit_codes(ranks)) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return [rank for rank, code in enumerate(codes) if code is None]


def _named(ranks: Sequence[int]) -> str:
    """Returns a subject and its verb, such as `ranks 1, 3 were`."""
    if len(ranks) == 1:
        return f"rank {ranks[0]} was"
    return f"ranks {', '.join(map(str, ranks))} were"


def _error(text: str, code: int, received: Sequence[int]) -> EtudeError:
    """Returns the error with an exit code; that of Ctrl-C if it stopped the run."""
    if code != PreemptedError.exit_code:
        return RankFailedError(text, code)
    return (InterruptedRunError if signal.SIGINT in received else PreemptedError)(text)
