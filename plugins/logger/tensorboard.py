"""TensorBoard: event files in the run folder. `tensorboard --logdir outputs` shows all runs.

https://www.tensorflow.org/tensorboard; needs the extra `tensorboard`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude import plugin
from etude.config import LoggerConfig
from etude.training import Tracker


@dataclass
class TensorboardConfig(LoggerConfig):
    subfolder: str = "tensorboard"
    """Folder of the event files, within the run folder."""


@plugin(TensorboardConfig, extra="tensorboard")
class Tensorboard(Tracker):
    """Opens its file at the first metric, so that it can purge steps that an interruption lost."""

    def __init__(self, config: TensorboardConfig, folder: Path) -> None:
        super().__init__(folder)
        self.place = folder / config.subfolder
        self.config_text = ""
        self._writer: Any = None  # torch's SummaryWriter: imported only where it is used

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.config_text = "".join(f"    {key}: {value}\n" for key, value in params.items())

    def log_metrics(self, metrics: Mapping[str, int | float], step: int | None = None) -> None:
        writer = self._open(step or 0)
        for name, value in metrics.items():
            if name != "step":
                writer.add_scalar(name, value, step)
        writer.flush()

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]], step: int) -> None:
        writer = self._open(step)
        for number, row in enumerate(rows):
            text = "\n\n".join(f"**{column}** {value}" for column, value in row.items())
            writer.add_text(f"{name}/{number}", text, step)

    def log_picture(self, name: str, picture: Any, step: int) -> None:
        self._open(step).add_image(name, picture, step, dataformats="HWC")

    def close(self, succeeded: bool) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self, step: int) -> Any:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.place), purge_step=step)
            self._writer.add_text("config", self.config_text, step)
        return self._writer
