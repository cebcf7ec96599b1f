"""What jobs of a sweep leave for one another to read."""

from pathlib import Path

from etude.files.run_folder import step_lines

PRUNED = "pruned.json"
"""What stands in the folder of a run that was stopped for being behind its rivals."""
JOBS = "jobs"
"""The folder that tells a sweep's folder from any other; it has a file for each job."""
Curve = dict[int, float]
"""A held-out number by step, in the order of the steps."""


def curve_of(run: Path, metric: str) -> Curve:
    """What a run has measured so far."""
    return {one["step"]: one[metric] for one in step_lines(run, f'"{metric}"')}
