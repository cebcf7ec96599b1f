"""How each job of a sweep ended: a file a job, beside the run folders, that anyone can read.

Whichever process a job ran in, what it left behind is all that is known of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from etude.files.atomic import write_whole
from etude.files.sweep_folder import JOBS


class State(StrEnum):
    """Where a job stands."""

    started = "started"
    """It runs, or its process ended without a word; the sweep issued again goes on with it."""
    finished = "finished"
    pruned = "pruned"
    """It was stopped because it was behind the others."""
    failed = "failed"


@dataclass(frozen=True)
class Outcome:
    """One job of a sweep."""

    job: int
    overrides: list[str]
    state: State = State.started
    exit_code: int = 0
    error: str | None = None

    def save(self, sweep: Path) -> None:
        """Writes the file of this job."""
        (sweep / JOBS).mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
        write_whole(sweep / JOBS / f"{self.job}.json", text + "\n")


def outcomes(sweep: Path) -> list[Outcome]:
    """Every job that was started in a sweep folder, by number."""
    files = sorted((sweep / JOBS).glob("*.json"), key=lambda file: int(file.stem))
    read = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return [replace(Outcome(**one), state=State(one["state"])) for one in read]


def telling(jobs: Mapping[int, Sequence[str]]) -> dict[int, list[str]]:
    """What tells each job from the others: its overrides without those that all have."""
    return {
        number: [item for item in job if not all(item in other for other in jobs.values())]
        for number, job in jobs.items()
    }
