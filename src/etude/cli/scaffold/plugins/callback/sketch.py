"""Logs the distance of the weights from their initial values.

(Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from etude import plugin, require
from etude.config import CallbackConfig
from etude.objective import MicroBatch
from etude.training import log_metrics

FILE = "sketch.txt"


@dataclass
class SketchConfig(CallbackConfig):
    every: int = 10
    """Steps between measurements."""

    def __post_init__(self) -> None:
        require(self.every >= 1, f"every must be at least 1, got {self.every}")


@plugin(SketchConfig)
class Sketch(pl.Callback):
    """Writes a line with step and L2 distance per measurement, and logs to the trackers."""

    def __init__(self, config: SketchConfig) -> None:
        self.every = config.every
        self.start: list[Tensor] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start = self.start or [p.detach().clone() for p in pl_module.parameters()]

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: MicroBatch[Any],
        batch_idx: int,
    ) -> None:
        if not batch.is_last or trainer.global_step % self.every or not trainer.is_global_zero:
            return
        pairs = zip(pl_module.parameters(), self.start, strict=True)
        moved = torch.stack([(p.detach() - q).square().sum() for p, q in pairs]).sum().sqrt()
        log_metrics(trainer, {"sketch/moved": float(moved)}, trainer.global_step)
        with (Path(trainer.default_root_dir) / FILE).open("a", encoding="utf-8") as file:
            file.write(f"{trainer.global_step} {float(moved):.6g}\n")

    def state_dict(self) -> dict[str, Any]:
        """State that a resumed run needs: the initial weights."""
        return {"start": self.start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.start = state_dict["start"]
