"""What jobs of a sweep leave for one another to read."""

import json
from pathlib import Path

PRUNED = "pruned.json"
"""What stands in the folder of a run that was stopped for being behind its rivals."""
JOBS = "jobs"
"""The folder that tells a sweep's folder from any other; it has a file for each job."""
Curve = dict[int, float]
"""A held-out number by step, in the order of the steps."""


def measured(run: Path, metric: str) -> Curve:
    """What a run has measured so far."""
    file = run / "steps.jsonl"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    read = [json.loads(line) for line in whole if f'"{metric}"' in line]
    return {line["step"]: line[metric] for line in read}
