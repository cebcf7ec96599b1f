"""Logs the network's output for a few held-out records, after each validation.

Written to `samples.jsonl` in the run folder, one line per validation, and logged by trackers that
support text.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as pl
import torch

from etude import plugin, require
from etude.config import CallbackConfig
from etude.files import truncate_after
from etude.objective import Objective
from etude.training import log_table

FILE = "samples.jsonl"


@dataclass
class SamplesConfig(CallbackConfig):
    n_records: int = 3
    """Number of held-out records to show, always the same ones."""

    def __post_init__(self) -> None:
        require(self.n_records >= 1, f"n_records must be at least 1, got {self.n_records}")


@plugin(SamplesConfig)
class Samples(pl.Callback):
    """Uses the weights that were just validated; has no side effects on the training run."""

    def __init__(self, config: SamplesConfig) -> None:
        self.config = config

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            truncate_after(Path(trainer.default_root_dir) / FILE, trainer.global_step)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Objective)
        held_out = pl_module.tools.held_out
        records = [held_out[i] for i in range(min(self.config.n_records, len(held_out)))]
        was_training = pl_module.training
        pl_module.eval()
        with torch.no_grad(), torch.random.fork_rng(), trainer.precision_plugin.forward_context():
            texts = pl_module.show(records)
        pl_module.train(was_training)
        if trainer.is_global_zero:
            line = json.dumps({"step": trainer.global_step, "texts": texts}, ensure_ascii=False)
            with (Path(trainer.default_root_dir) / FILE).open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        rows = [{"number": number, "text": text} for number, text in enumerate(texts)]
        log_table(trainer, "samples", rows, trainer.global_step)
