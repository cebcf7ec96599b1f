"""Training of one run: optimizers, schedules, trackers and validation."""

from etude.training.eval_weights import AveragingOptimizer, put_weights, trainable_weights
from etude.training.flops import counter
from etude.training.optim import (
    OptimizerParameter,
    ParameterKind,
    decay_groups,
    warmup_length,
    with_warmup,
)
from etude.training.trackers import Tracker, log_metrics, log_picture, log_table
from etude.training.validation import Validation, refuse_unreported
