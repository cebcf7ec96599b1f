"""Jobs of a sweep compared while they train, and those that are behind stopped.

What a job knows of its rivals is the lines that they write: any launcher on a shared disk will do.
"""

import json
from abc import ABC, abstractmethod
from pathlib import Path

import lightning.pytorch as pl

from etude.errors import ConfigError
from etude.experiment import Best
from etude.whole_file import write_whole

PRUNED = "pruned.json"
"""What stands in the folder of a run that was stopped for being behind its rivals."""
SWEEP = "jobs"
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


class Pruning(pl.Callback, ABC):
    """Stops a job that is behind; a run that is no job of a sweep has no rivals and is never."""

    def __init__(self, metric: str, best: Best) -> None:
        self.metric = metric
        self.best = best

    @abstractmethod
    def is_behind(self, own: Curve, rivals: list[Curve]) -> bool:
        """Whether a job with the curve `own`, up to the step just measured, is to be stopped."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or (_folder(trainer) / PRUNED).exists()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        step, run = trainer.global_step, _folder(trainer)
        if self.metric not in trainer.callback_metrics:
            raise ConfigError(f"{self.metric}, by which jobs are compared, is not measured.")
        own = measured(run, self.metric) | {step: float(trainer.callback_metrics[self.metric])}
        names = [file.stem for file in (run.parent / SWEEP).glob("*.json")]
        rivals = [measured(run.parent / name, self.metric) for name in names if name != run.name]
        behind = step < trainer.max_steps and self.is_behind(own, rivals)
        if trainer.strategy.reduce_boolean_decision(behind, all=False):
            trainer.should_stop = True
            if trainer.is_global_zero:
                write_whole(run / PRUNED, json.dumps({"step": step, self.metric: own[step]}) + "\n")


def _folder(trainer: pl.Trainer) -> Path:
    return Path(trainer.default_root_dir)
