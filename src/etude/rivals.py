"""What the other jobs of a sweep have measured, as a job reads it while it trains.

The lines that each run writes are all there is to know: any launcher on a shared disk will do.
"""

import json
from pathlib import Path

PRUNED = "pruned.json"
"""What stands in the folder of a run that was stopped for being behind its rivals."""
SWEEP = "jobs"
"""The folder that tells a sweep's folder from any other; it has a file for each job."""


def measured(run: Path, metric: str) -> dict[int, float]:
    """The held-out numbers of a run by step; those that are NaN or infinite among them."""
    file = run / "steps.jsonl"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    read = [json.loads(line) for line in lines if f'"{metric}"' in line]
    return {line["step"]: line[metric] for line in read}


def rivals(run: Path, metric: str) -> list[dict[int, float]]:
    """What each other job of the sweep has measured so far; of a run that is in none, nothing."""
    jobs = sorted((run.parent / SWEEP).glob("*.json"))
    return [measured(run.parent / job.stem, metric) for job in jobs if job.stem != run.name]
