"""Atomic file writes, and the file names of runs and sweeps."""

from etude.files.atomic import sha256, write_atomic
from etude.files.json_file import read_json
from etude.files.run_folder import CARD, CHECKPOINTS, EVALUATIONS, PARENTS
from etude.files.seal import truncate_after
from etude.files.sweep_folder import JOBS, PRUNED, Curve, metric_curve
