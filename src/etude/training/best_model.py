"""`best/`: the weights with the best held-out number so far, exact over every interruption.

What is better than before waits beside its place until a checkpoint knows of it, and takes the
place then. So `best/` never holds the weights of an attempt that was lost.
"""

import json
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
from etude.formats.checkpoint import MANIFEST, fault_of
from etude.training.validation import refuse_unreported

FOLDER = "best"
Write = Callable[[Mapping[str, Tensor], Path, Mapping[str, Any]], None]
"""Writes the model of an objective's state into a folder, sealed with facts."""


@dataclass
class BestModel:
    """Keeps the best of a run; all ranks call, the first writes."""

    folder: Path
    """Of the run."""
    metric: str
    best: Best
    write: Write
    at: dict[str, float] = field(default_factory=dict[str, float])
    """The step of the best, and its value; empty before the first validation."""

    def offer(self, trainer: pl.Trainer, step: int, measured: Mapping[str, float]) -> None:
        """Takes the weights that were just measured, if they are the best.

        Raises ConfigError when nothing of that name was measured.
        """
        refuse_unreported("trainer.keep_best", self.metric, measured)
        value = measured[self.metric]
        if not math.isfinite(value) or not self.best.improves(value, self.at.get("value")):
            return
        self.at = {"step": step, "value": value}
        state = trainer.strategy.lightning_module_state_dict()  # of all ranks
        if trainer.is_global_zero:
            self.write(state, self._waiting, self.at)

    def settle(self, trainer: pl.Trainer) -> None:
        """Puts what waits in its place, now that a checkpoint knows of it; drops it if none does.

        Called behind each checkpoint, and where a run goes on from one.
        """
        if trainer.is_global_zero and self._waiting.exists():
            if fault_of(self._waiting) is None and _facts(self._waiting) == self.at:
                replace_folder(self._waiting, self.folder / FOLDER)
            else:
                shutil.rmtree(self._waiting)

    @property
    def _waiting(self) -> Path:
        return self.folder / f".{FOLDER}.waiting"


def _facts(folder: Path) -> Mapping[str, Any]:
    return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["facts"]
