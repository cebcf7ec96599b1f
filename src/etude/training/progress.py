"""Progress of a run on stderr: a bar on a terminal, periodic lines in a log file."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 10.0
SHOWN = ("val/bits_per_byte", "val/reward", "val/exact_match", "val/accuracy", "val/loss")
"""Validation metrics, most informative first; the first that exists is shown."""


class ProgressBar:
    """Shows step, loss, tokens per second and remaining time on stderr."""

    def __init__(self, total: int, log_every: int) -> None:
        self.total = total
        self.log_every = log_every
        self.console = Console(file=sys.stderr, highlight=False)
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
            console=self.console,
            refresh_per_second=2,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=total, text="")
        self._mark = (0.0, 0.0)
        self._last_line = 0.0
        self._validated = ""

    def __enter__(self) -> Self:
        self._bar.start()
        self._mark = (time.perf_counter(), -1.0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def update(self, line: Mapping[str, float]) -> None:
        """Receives the metrics of a step; shows them at the display interval."""
        step = int(line["step"])
        now = time.perf_counter()
        if "val/loss" in line:
            self._validated = "  " + _first_metric(line, *SHOWN)
        elif step % self.log_every and step != self.total:
            return
        if self._mark[1] < 0:
            self._mark = (now, line["tokens"])
        seconds = now - self._mark[0]
        tokens = line["tokens"] - self._mark[1]
        rate = f"  {tokens / seconds:,.0f} tokens/s" if seconds > 0 else ""
        skipped = f"  {line['skipped']:,} skipped" if line["skipped"] else ""
        text = f"loss {line['loss']:.4g}{rate}{skipped}{self._validated}"
        self._bar.update(self._task, completed=step, text=text)
        if not self.console.is_terminal and (
            now - self._last_line > LINE_EVERY_S or step == self.total
        ):
            self._last_line = now
            self.console.print(f"step {step}/{self.total}  {text}", soft_wrap=True)


def _first_metric(line: Mapping[str, float], *names: str) -> str:
    """Returns the first of these metrics that the line has."""
    name = next(name for name in names if name in line)
    return f"{name} {line[name]:.4g}"
