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
CHANGES = "changes.jsonl"
"""Changes with which the run was resumed: step, what, was, now."""
HARDWARE = "hardware.json"
STEPS = "steps.jsonl"
SUMMARY = "summary.json"
LOCK = ".lock"
MODEL = "model"
ADAPTER = "adapter"
BASE = "base"
"""What the adapter was trained on, if transformers cannot open the base itself."""
TOKENIZER = "tokenizer"
CHECKPOINTS = "checkpoints"
NON_FINITE = "non_finite"
"""The batches of steps that were not taken, because their loss or gradient was not finite."""
CLOCKS = ("seconds",)
"""Fields of a step line that may differ between two identical runs."""


def step_lines(run: Path, containing: str = "") -> list[dict[str, Any]]:
    """The parsed lines of steps.jsonl; an incomplete last line is ignored.

    With `containing`, only lines that contain this text are parsed, such as those with val metrics.
    """
    file = run / STEPS
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    lines = text[: text.rfind("\n") + 1].splitlines()
    return [json.loads(line) for line in lines if containing in line]


def untimed_steps(run: Path) -> list[dict[str, Any]]:
    """The step lines without timings: equal for two identical runs."""
    return [{key: line[key] for key in line if key not in CLOCKS} for line in step_lines(run)]


def read_summary(run: Path) -> dict[str, Any] | None:
    """The summary of a finished run; None if the run is not finished."""
    file = run / SUMMARY
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


@contextmanager
def run_lock(folder: Path, activity: str) -> Generator[None]:
    """Locks a folder against other processes; `activity` is named in their error."""
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"{folder} is being {activity}.\n"
                "  Wait for it to finish, or choose another folder with run=<folder>."
            ) from error
        yield
