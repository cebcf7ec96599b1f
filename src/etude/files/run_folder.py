"""The file names in a run folder, and readers for the public ones."""

import fcntl
import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etude.errors import ConfigError

CONFIG = "config.yaml"
CARD = "data_card.json"
PARENTS = "parents.json"
HARDWARE = "hardware.json"
STEPS = "steps.jsonl"
SUMMARY = "summary.json"
LOCK = ".lock"
MODEL = "model"
ADAPTER = "adapter"
TOKENIZER = "tokenizer"
CHECKPOINTS = "checkpoints"
CLOCKS = ("seconds",)
"""Fields of a step line that may differ between two identical runs."""


def step_lines(run: Path, holding: str = "") -> list[dict[str, Any]]:
    """The parsed lines of steps.jsonl; an incomplete last line is ignored.

    With `holding`, only lines that contain this text are parsed, such as those with val metrics.
    """
    file = run / STEPS
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    lines = text[: text.rfind("\n") + 1].splitlines()
    return [json.loads(line) for line in lines if holding in line]


def record_of(run: Path) -> list[dict[str, Any]]:
    """The step lines without timings: equal for two identical runs."""
    return [{key: one[key] for key in one if key not in CLOCKS} for one in step_lines(run)]


def summary_of(run: Path) -> dict[str, Any] | None:
    """The summary of a finished run; None if the run is not finished."""
    file = run / SUMMARY
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


@contextmanager
def run_lock(folder: Path, done: str) -> Generator[None]:
    """Locks a folder against other processes; `done` is the activity named in their error."""
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"{folder} is being {done}.\n"
                "  Wait for it to end, or choose another folder with run=<folder>."
            ) from error
        yield
