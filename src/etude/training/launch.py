"""Starts the processes of a run on several devices, and sees to it that none outlives the run.

The worker is started on the run folder, in a process group of its own; Lightning makes the other
ranks by starting the same command again. Signals go to the whole group, and whatever happens
to one rank, the group is ended with the first process.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from etude.errors import EtudeError


class WorkerFailedError(EtudeError):
    """The processes of a run ended with an error that they have told themselves."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("")
        self.exit_code = exit_code


def launch(folder: Path) -> None:
    """Trains the run in `folder` in processes of their own. Raises WorkerFailedError."""
    command = [sys.executable, "-m", "etude.training.run", str(folder)]
    process = subprocess.Popen(command, start_new_session=True)

    def forward(number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)

    before: dict[int, Any] = {
        number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        code = process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)
    if code:
        raise WorkerFailedError(code if code > 0 else 1)
