"""The files that the jobs of a sweep share."""

from pathlib import Path

from etude.files.run_folder import step_lines

PRUNED = "pruned.json"
"""The file in the folder of a run that was pruned, i.e. stopped early for a poor metric."""
JOBS = "jobs"
"""The subfolder that identifies a sweep folder; it contains a file for each job."""
Curve = dict[int, float]
"""A validation metric by step, in step order."""


def metric_curve(run: Path, metric: str) -> Curve:
    """The values of a metric that a run has logged so far, by step."""
    return {line["step"]: line[metric] for line in step_lines(run, f'"{metric}"')}
