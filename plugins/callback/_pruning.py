"""Compares the jobs of a sweep while they train, and stops those that are behind.

A job reads the metrics of other jobs from their files, so any launcher with a shared disk works.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import lightning.pytorch as pl

from etude import require
from etude.config import Best, CallbackConfig
from etude.files import JOBS, PRUNED, Curve, metric_curve, write_atomic
from etude.training import refuse_unreported

C = TypeVar("C", bound="PruningConfig")


@dataclass
class PruningConfig(CallbackConfig):
    """The metric that compares jobs, and the first step at which it does."""

    metric: str = "val/loss"
    """Validation metric by which jobs are compared, as named in steps.jsonl."""
    best: Best = Best.lowest
    """Whether lower values (for losses) or higher values are better: lowest or highest."""
    min_steps: int = 60
    """Step of the first comparison, or rung; the first validation at or after it counts."""

    @property
    def watched(self) -> Mapping[str, str]:
        return {"metric": self.metric}

    def __post_init__(self) -> None:
        require(self.min_steps >= 1, f"min_steps must be at least 1, got {self.min_steps}")


class Pruning(pl.Callback, ABC, Generic[C]):
    """Stops a job that is behind the others; has no effect on a run outside a sweep."""

    def __init__(self, config: C) -> None:
        self.config = config

    @abstractmethod
    def should_prune(self, own: Curve, others: list[Curve]) -> bool:
        """Whether to stop the job with the curve `own`, measured up to the current step."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or (_folder(trainer) / PRUNED).exists()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        step = trainer.global_step
        run = _folder(trainer)
        metric = self.config.metric
        refuse_unreported("metric", metric, trainer.callback_metrics)
        own = metric_curve(run, metric) | {step: float(trainer.callback_metrics[metric])}
        names = [file.stem for file in (run.parent / JOBS).glob("*.json")]
        others = [metric_curve(run.parent / name, metric) for name in names if name != run.name]
        is_behind = step < trainer.max_steps and self.should_prune(own, others)
        if trainer.strategy.reduce_boolean_decision(is_behind, all=False):
            trainer.should_stop = True
            if trainer.is_global_zero:
                write_atomic(run / PRUNED, json.dumps({"step": step, metric: own[step]}) + "\n")


def _folder(trainer: pl.Trainer) -> Path:
    return Path(trainer.default_root_dir)
