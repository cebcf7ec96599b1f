"""Keeps the weights with the best validation metric so far in `best/`, across interruptions.

New best weights are staged in a hidden folder and move to `best/` once a checkpoint records them.
So `best/` never contains weights from steps that were lost in a crash.
"""

import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from torch import Tensor

from etude.config.schema.trainer import Best
from etude.files.atomic import replace_folder
from etude.files.manifest import fault_of, read_manifest
from etude.files.run_folder import BEST
from etude.training.validation import refuse_unreported

Write = Callable[[Mapping[str, Tensor], Path, Mapping[str, Any]], str | None]
"""Writes the model of an objective's state to a folder, with facts in its manifest.

Returns what transformers or PEFT cannot read of it, and why; None if they read all."""


@dataclass
class BestModel:
    """Keeps the best weights of a run. All ranks must call it; only rank 0 writes."""

    folder: Path
    """The run folder."""
    metric: str
    best: Best
    write: Write
    at: dict[str, float] = field(default_factory=dict[str, float])
    """Step and value of the best weights; empty before the first validation."""

    def update(self, trainer: pl.Trainer, step: int, metrics: Mapping[str, float]) -> None:
        """Stages the weights that were just validated if their metric is the best so far.

        Raises ConfigError if the metric was not reported.
        """
        refuse_unreported("trainer.keep_best", self.metric, metrics)
        value = metrics[self.metric]
        if not math.isfinite(value) or not self.best.improves(value, self.at.get("value")):
            return
        self.at = {"step": step, "value": value}
        state = trainer.strategy.lightning_module_state_dict()  # collective: all ranks take part
        if trainer.is_global_zero:
            self.write(state, self._staging, self.at)

    def commit(self, trainer: pl.Trainer) -> None:
        """Moves staged weights to `best/` if the checkpoint records them; deletes them otherwise.

        Called after each checkpoint and when a run resumes.
        """
        if trainer.is_global_zero and self._staging.exists():
            facts = {} if fault_of(self._staging) else read_manifest(self._staging)["facts"]
            if facts and self.at.items() <= facts.items():
                replace_folder(self._staging, self.folder / BEST)
            else:
                shutil.rmtree(self._staging)

    @property
    def _staging(self) -> Path:
        return self.folder / f".{BEST}.waiting"
