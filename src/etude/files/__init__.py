"""Files that survive a kill, and what the files of runs and sweeps are called."""

from etude.files.atomic import forget_after, write_whole
from etude.files.run_folder import CARD, CHECKPOINTS, PARENTS
from etude.files.sweep_folder import JOBS, PRUNED, Curve, curve_of
