"""What the files in a run folder are called, and how those that anyone may read are read."""

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
"""Fields of a step line that two equal runs may differ in."""


def step_lines(run: Path, holding: str = "") -> list[dict[str, Any]]:
    """What a run has written of its steps; half a last line is one that is being written.

    With `holding`, only lines with that in them are parsed: held-out numbers stand in a few.
    """
    file = run / STEPS
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    lines = text[: text.rfind("\n") + 1].splitlines()
    return [json.loads(line) for line in lines if holding in line]


def record_of(run: Path) -> list[dict[str, Any]]:
    """What two equal runs both have written of their steps: all but clocks."""
    return [{key: one[key] for key in one if key not in CLOCKS} for one in step_lines(run)]


def summary_of(run: Path) -> dict[str, Any] | None:
    """What a finished run says of itself; None of one that is not finished."""
    file = run / SUMMARY
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


@contextmanager
def locked(folder: Path, done: str) -> Generator[None]:
    """Keeps a second process out of a folder while something is being `done` to it."""
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"{folder} is being {done}.\n"
                "  Wait for it to end, or choose another folder with run=<folder>."
            ) from error
        yield
