"""Starts the processes of a multi-device run, and ensures that none outlives the run.

The worker starts in its own process group; Lightning launches the other ranks by running the same
command again. Signals are forwarded to the whole group. When the first process ends, the group is
killed, whatever happened to the other ranks.
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
    """The processes of a run failed with an error that they have already printed."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("")
        self.exit_code = exit_code


def launch(folder: Path) -> None:
    """Trains the run in `folder` in separate processes. Raises WorkerFailedError."""
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
