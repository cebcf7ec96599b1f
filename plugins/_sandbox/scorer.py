"""Scores answers in a sandbox, where a library may evaluate them."""

import contextlib
import math
import subprocess
import weakref
from collections.abc import Sequence

from .jobs import READY
from .sandbox import Sandbox, with_size


class Scorer:
    """Scores answers by a program, which may be trusted, that defines `score(answer) -> float`.

    Each answer is scored in a process of its own, so that it can change no score but its own.
    """

    def __init__(self, sandbox: Sandbox, program: str) -> None:
        self._sandbox = sandbox
        process = sandbox.start("scores")
        weakref.finalize(self, stop, process)
        assert process.stdin is not None
        assert process.stdout is not None
        self._input, self._output = process.stdin, process.stdout
        self._write(f"import sys\nsys.path += {sandbox.packages}\n{program}")
        if self._output.read(len(READY)) != READY:
            raise sandbox.refusal(process.communicate()[1])

    def __call__(self, answers: Sequence[str]) -> list[float]:
        """Returns the score of each answer; NaN if it has none in time."""
        return [self._score(answer) for answer in answers]

    def _score(self, answer: str) -> float:
        self._write(answer)
        line = self._output.readline()
        if not line:
            raise self._sandbox.refusal(b"its scorer has ended")
        try:
            return float(line)
        except ValueError:
            return math.nan

    def _write(self, text: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # reading tells why
            self._input.write(with_size(text))
            self._input.flush()


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a job."""
    process.kill()
    process.communicate()
