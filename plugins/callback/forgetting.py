"""Measures forgetting: evaluates an earlier run's validation metrics during training.

McCloskey and Cohen 1989, https://doi.org/10.1016/S0079-7421(08)60536-8, named the effect; here the
earlier run's objective is evaluated on its own held-out records at each validation, and reported as
`val/before/<name>`. That run's summary.json has the numbers from before this training.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import lightning.pytorch as pl
import torch
from omegaconf import MISSING

from etude import plugin, require
from etude.config import CallbackConfig, TextDataConfig, build, load_config
from etude.data import prepare
from etude.objective import Objective, Ranks
from etude.training import Validation


@dataclass
class ForgettingConfig(CallbackConfig):
    run: str = MISSING
    """Folder of the earlier run, such as the one that pretrained the base model."""
    n_samples: int = 64
    """Held-out samples per measurement, always the same ones."""
    micro_batch: int = 16
    """Samples per forward pass."""

    def __post_init__(self) -> None:
        for name in ("n_samples", "micro_batch"):
            value = getattr(self, name)
            require(value >= 1, f"{name} must be at least 1, got {value}")

    @property
    def teacher(self) -> str:
        return self.run

    @property
    def rereads(self) -> dict[str, str | None]:
        return {"run": self.run}


@plugin(ForgettingConfig, example={"run": "{run}"})
class Forgetting(pl.Callback):
    """Evaluates the current weights; has no side effects on the training run."""

    def __init__(self, config: ForgettingConfig) -> None:
        self.config = config

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Objective)
        before = load_config(Path(self.config.run))
        corpus = prepare(before, pl_module.tools.tokenizer)
        intra_document = isinstance(before.data, TextDataConfig) and before.data.intra_document
        tools = replace(pl_module.tools, seq_len=before.data.seq_len, intra_document=intra_document)
        with torch.random.fork_rng(devices=[]):
            self.task: Objective = build(before.objective, pl_module.network, tools)
        self.task.trainer = trainer
        samples = self.task.select_samples(corpus.val)
        n = min(self.config.n_samples, len(samples))
        ranks = Ranks(trainer.global_rank, trainer.world_size)
        self.validation = Validation(samples, n, self.config.micro_batch, before.seed, ranks)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        was_training = pl_module.training
        found = self.validation.measure(self.task)
        pl_module.train(was_training)
        metrics = {name.replace("val/", "val/before/"): value for name, value in found.items()}
        pl_module.log_dict(metrics, logger=False)
