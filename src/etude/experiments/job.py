"""Records how each job of a sweep ended, in one file per job next to the run folders.

A job may run in any process, so these files are the only source of its result.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from etude.files.atomic import write_atomic
from etude.files.json_file import read_json, reading
from etude.files.secret import redacted
from etude.files.sweep_folder import JOBS

Launch = Callable[[Sequence[Sequence[str]], int], None]
"""Runs jobs, each a list of overrides; the second argument is the number of the first of them."""


class State(StrEnum):
    """State of a job."""

    started = "started"
    """It is running, or its process was killed; running the sweep again resumes it."""
    finished = "finished"
    pruned = "pruned"
    """It was stopped early because its metric was worse than that of other jobs."""
    failed = "failed"


@dataclass(frozen=True)
class JobRecord:
    """One job of a sweep."""

    job: int
    overrides: list[str]
    state: State = State.started
    exit_code: int = 0
    error: str | None = None

    def save(self, sweep: Path) -> None:
        """Writes the record file of this job."""
        (sweep / JOBS).mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
        write_atomic(sweep / JOBS / f"{self.job}.json", redacted(text) + "\n")


def read_jobs(sweep: Path) -> list[JobRecord]:
    """Returns every job that was started in a sweep folder, by number."""
    files = [file for file in (sweep / JOBS).glob("*.json") if file.stem.isdecimal()]
    return [_read_job(file) for file in sorted(files, key=lambda file: int(file.stem))]


def _read_job(file: Path) -> JobRecord:
    one = read_json(file)
    with reading(file):
        return replace(JobRecord(**one), state=State(one["state"]))


def distinguishing_overrides(jobs: Mapping[int, Sequence[str]]) -> dict[int, list[str]]:
    """Returns each job's distinguishing overrides: those that not all jobs have."""
    return {
        number: [item for item in job if not all(item in other for other in jobs.values())]
        for number, job in jobs.items()
    }
