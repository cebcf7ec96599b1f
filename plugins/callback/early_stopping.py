"""Stops a run when a validation metric has not improved for a while.

Prechelt 1998, https://doi.org/10.1007/3-540-49430-8_3, with patience in validations.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl

from etude import plugin, require
from etude.config import Best, CallbackConfig
from etude.training import refuse_unreported


@dataclass
class EarlyStoppingConfig(CallbackConfig):
    metric: str = "val/loss"
    """Validation metric to monitor, as named in steps.jsonl."""
    best: Best = Best.lowest
    """Whether lower values (for losses) or higher values are better: lowest or highest."""
    patience: int = 3
    """Validations without improvement before the run stops."""
    min_delta: float = 0.0
    """Minimum improvement that counts, in units of the metric."""

    @property
    def watched(self) -> Mapping[str, str]:
        return {"metric": self.metric}

    def __post_init__(self) -> None:
        require(self.patience >= 1, f"patience must be at least 1, got {self.patience}")
        require(self.min_delta >= 0, f"min_delta must be 0 or more, got {self.min_delta}")


@plugin(EarlyStoppingConfig)
class EarlyStopping(pl.Callback):
    """Counts validations since the best one; the last step is saved as usual."""

    def __init__(self, config: EarlyStoppingConfig) -> None:
        self.config = config
        self.best: float | None = None
        self.since = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop_if_due(trainer)  # a run killed after its last step must not train further

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        key = "callback.early_stopping.metric"
        refuse_unreported(key, self.config.metric, trainer.callback_metrics)
        value = float(trainer.callback_metrics[self.config.metric])
        if self.config.best.improves(value, self.best, self.config.min_delta):
            self.best = value
            self.since = 0
        else:
            self.since += 1
        self._stop_if_due(trainer)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "since": self.since}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]
        self.since = state_dict["since"]

    def _stop_if_due(self, trainer: pl.Trainer) -> None:
        if self.since >= self.config.patience:
            trainer.should_stop = True
