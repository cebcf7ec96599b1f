"""The file names in a run folder, and readers for the public ones."""

import fcntl
import json
from collections.abc import Generator
from contextlib import contextmanager
from os.path import realpath
from pathlib import Path
from typing import Any

from etude.errors import CheckpointError, ConfigError
from etude.files.json_file import reading
from etude.files.seal import read_sealed_json

CONFIG = "config.yaml"
CARD = "data_card.json"
PARENTS = "parents.json"
CHANGES = "changes.jsonl"
"""Changes with which the run was resumed: step, what, was, now."""
HARDWARE = "hardware.json"
STEPS = "steps.jsonl"
SUMMARY = "summary.json"
SAMPLE_TEXTS = "samples.txt"
DERIVED = (HARDWARE, SUMMARY, SAMPLE_TEXTS)
"""Files that a run writes again if they are missing."""
LOCK = ".lock"
MODEL = "model"
ADAPTER = "adapter"
BEST = "best"
BASE = "base"
"""What the adapter was trained on, if transformers cannot open the base itself."""
TOKENIZER = "tokenizer"
CHECKPOINTS = "checkpoints"
EVALUATIONS = "evaluations"
"""Results of `etude evaluate`, one file a task."""
NON_FINITE = "non_finite"
"""The batches of steps that were not taken, because their loss or gradient was not finite."""
FOLDERS = (TOKENIZER, CHECKPOINTS, MODEL, ADAPTER, BEST, BASE, NON_FINITE)
"""The folders that a run itself writes; trackers and callbacks write others."""
CLOCKS = ("seconds",)
"""Fields of a step line that may differ between two identical runs."""


def step_lines(run: Path, containing: str = "") -> list[dict[str, Any]]:
    """The parsed lines of steps.jsonl; an incomplete last line is ignored.

    With `containing`, only lines that contain this text are parsed, such as those with val metrics.
    Raises CheckpointError if one is not a step.
    """
    file = run / STEPS
    with reading(file):
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        lines = text[: text.rfind("\n") + 1].splitlines()
        parsed = [json.loads(line) for line in lines if containing in line]
        return [{**line, "step": int(line["step"])} for line in parsed]


def untimed_steps(run: Path) -> list[dict[str, Any]]:
    """The step lines without timings: equal for two identical runs."""
    return [{key: line[key] for key in line if key not in CLOCKS} for line in step_lines(run)]


def read_summary(run: Path) -> dict[str, Any] | None:
    """The summary of a finished run; None if the run is not finished."""
    file = run / SUMMARY
    if not file.exists():
        return None
    with reading(file):
        summary = read_sealed_json(file)
        return {**summary, "metrics": dict(summary["metrics"])}


def links_out(folder: Path) -> list[Path]:
    """Returns the links out of a run folder among its files; the folder itself may be a link.

    Folders of trackers, such as wandb's, have links of their own.
    """
    inside = (path for name in FOLDERS for path in (folder / name).rglob("*"))
    links = (path for path in (*folder.glob("*"), *inside) if path.is_symlink())
    return [path for path in links if not Path(realpath(path)).is_relative_to(realpath(folder))]


def refuse_links(folder: Path) -> None:
    """Raises CheckpointError if a link in a run folder leads out of it: a run would write there."""
    for path in links_out(folder):
        raise CheckpointError(
            f"{path} is a link out of the run folder, to {realpath(path)}.\n"
            "  Nothing was changed. Replace it by what it leads to, or remove it; the run folder "
            "itself may be a link."
        )


@contextmanager
def run_lock(folder: Path, activity: str) -> Generator[int]:
    """Locks a folder against other processes; `activity` is named in their error.

    The lock is held until every process with the yielded descriptor has closed it or ended.
    """
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"{folder} is being {activity}.\n"
                "  Wait for it to finish, or choose another folder with run=<folder>."
            ) from error
        yield lock.fileno()
