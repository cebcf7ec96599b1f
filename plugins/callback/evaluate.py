"""Evaluates a task during training, after validations, on all ranks.

The tasks of `etude evaluate`, on a float64 copy of the current weights: at the last step the
numbers are those of `etude evaluate` on the finished run. Reported as `val/<task>/<metric>`; the
items are in evaluations/<task>/<step>.json in the run folder.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as pl
import torch
from omegaconf import MISSING

from etude import ConfigError, plugin, require
from etude.config import CallbackConfig, StrategyConfig, load_config, plugin_of
from etude.evaluation import DTYPES, Evaluation, Subject, joined, task_config
from etude.files import EVALUATIONS
from etude.formats import Model
from etude.objective import Objective, all_gather


@dataclass
class EvaluateConfig(CallbackConfig):
    task: str = MISSING
    """The task: a file conf/task/<task>.yaml, of étude or of the working directory."""
    every: int | None = None
    """Evaluate at validations whose step is a multiple of this, and at the last step; null = at
    every validation."""
    n_items: int | None = 200
    """Number of items, always the same ones; null = all."""
    batch_size: int = 16
    """Rows of a forward pass on each rank. Affects speed and memory, not the result."""

    def __post_init__(self) -> None:
        for name in ("every", "n_items", "batch_size"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name} must be at least 1, got {value}")

    def check(self, strategy: StrategyConfig) -> None:
        task_config(self.task, {})
        if plugin_of(strategy).declaration.shards:
            raise ConfigError(
                "callback=evaluate copies the weights, but this strategy shards them.\n"
                "  Use strategy=ddp, or etude evaluate on the finished run."
            )


@plugin(EvaluateConfig, example={"task": "sums", "n_items": 4})
class Evaluate(pl.Callback):
    """Evaluates a copy of the weights; has no side effects on the training run."""

    def __init__(self, config: EvaluateConfig) -> None:
        self.config = config

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Objective)
        folder = Path(trainer.default_root_dir)
        config = load_config(folder)
        tokenizer = pl_module.tools.tokenizer
        parts = config.architecture, tokenizer, config.tokenizer, config.objective
        sizes = {"n_items": self.config.n_items, "batch_size": self.config.batch_size}
        task = task_config(self.config.task, sizes)
        self.evaluation = Evaluation(task, self.config.task, Model(folder, *parts))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Objective)
        step, is_last = trainer.global_step, trainer.global_step == trainer.max_steps
        if self.config.every and step % self.config.every and not is_last:
            return
        evaluation = self.evaluation
        with torch.random.fork_rng():
            network = copy.deepcopy(pl_module.network).requires_grad_(False).eval()
            network.to(DTYPES[evaluation.config.precision])
            subject = Subject(evaluation.model, network, self.config.batch_size)
            mine = evaluation.parts(subject, trainer.global_rank, trainer.world_size)
        parts = joined(all_gather(mine))
        if trainer.is_global_zero:
            file = evaluation.model.folder / EVALUATIONS / self.config.task / f"{step}.json"
            evaluation.result(parts, f"step {step}").write(file)
        metrics = {
            f"val/{self.config.task}/{name}": value
            for part in parts.values()
            for name, value in part.named().items()
        }
        pl_module.log_dict(metrics, logger=False)
