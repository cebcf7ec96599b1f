"""Atomic file writes, and the file names of runs and sweeps."""

from etude.files.atomic import sha256, truncate_after, write_atomic
from etude.files.run_folder import CARD, CHECKPOINTS, PARENTS
from etude.files.sweep_folder import JOBS, PRUNED, Curve, metric_curve
