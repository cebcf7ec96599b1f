"""Exponential moving average of the weights, used for validation and as the final model.

Polyak & Juditsky 1992, https://doi.org/10.1137/0330046; the decay rises as min(decay, (1 + step) /
(10 + step)), as in TensorFlow's ExponentialMovingAverage.
"""

from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from etude import plugin, require
from etude.config import CallbackConfig
from etude.objective import MicroBatch
from etude.training import put_weights, trainable_weights


@dataclass
class EmaConfig(CallbackConfig):
    decay: float = 0.999
    """Fraction of the average kept at each step, in (0, 1). Typical: 0.99-0.9999."""

    def __post_init__(self) -> None:
        require(0 < self.decay < 1, f"decay must be in (0, 1), got {self.decay}")


@plugin(EmaConfig)
class Ema(pl.Callback):
    """Training uses the raw weights; validation uses the average."""

    def __init__(self, config: EmaConfig) -> None:
        self.config = config
        self.average: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._place(pl_module)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: MicroBatch[Any],
        batch_idx: int,
    ) -> None:
        if not batch.is_last:
            return
        step = trainer.global_step
        decay = min(self.config.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, weight in trainable_weights(pl_module).items():
                kept = self.average[name]
                kept.lerp_(weight.to(kept.dtype), 1 - decay)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._weights = {
            name: p.detach().clone() for name, p in trainable_weights(pl_module).items()
        }
        put_weights(self.average, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        put_weights(self._weights, pl_module)
        self._weights = {}

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._place(pl_module)  # a run resumed after its last step does not train
        put_weights(self.average, pl_module)

    def state_dict(self) -> dict[str, Any]:
        whole = {
            k: v.full_tensor() if isinstance(v, DTensor) else v for k, v in self.average.items()
        }
        return {"average": whole}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.average = state_dict["average"]

    def _place(self, module: pl.LightningModule) -> None:
        """Starts from the weights, or moves a loaded average to their device."""
        for name, weight in trainable_weights(module).items():
            exact = torch.promote_types(weight.dtype, torch.float32)  # bf16 is too coarse
            kept = self.average.get(name, weight).detach().to(weight.device, exact, copy=True)
            if isinstance(weight, DTensor) and not isinstance(kept, DTensor):
                kept = distribute_tensor(kept, weight.device_mesh, weight.placements)
            self.average[name] = kept
