"""The group `logger`: experiment trackers, whose failures never stop a run.

A tracker that fails is removed with a warning. It is still closed, or the next job of a sweep
would log to the same tracker run.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from jaxtyping import UInt8
from lightning.pytorch.loggers import Logger


class Tracker(Logger, ABC):
    """Base class of the group `logger`; only rank 0 calls its methods."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.folder.name

    @property
    def version(self) -> str:
        """Version, which distinguishes runs of the same name."""
        return ""

    @abstractmethod
    def log_metrics(self, metrics: Mapping[str, int | float], step: int | None = None) -> None:
        """Logs the metrics of a step."""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Logs the flattened config at the start; does nothing by default."""

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]], step: int) -> None:
        """Logs texts of the network at a step, one per row; does nothing by default."""

    def log_picture(self, name: str, picture: Any, step: int) -> None:
        """Logs a picture at a step, an array of bytes [height, width, 3]; ignored by default."""

    @abstractmethod
    def close(self, succeeded: bool) -> None:
        """Closes the tracker if it was opened; may be called again."""

    def finalize(self, status: str) -> None:
        """Closes the tracker; Lightning calls it after success and failure."""
        try:
            self.close(status == "success")
        except Exception as error:  # whatever a tracker and its server can raise
            warnings.warn(f"{type(self).__name__} could not be closed: {error}", stacklevel=2)


def log_metrics(trainer: pl.Trainer, numbers: Mapping[str, float], step: int) -> None:
    """Logs the metrics of a step to every tracker."""
    _for_each_logger(trainer, lambda logger: logger.log_metrics(dict(numbers), step))


def log_config(trainer: pl.Trainer, config: Mapping[str, Any]) -> None:
    """Logs the config, by full keys, to every tracker; trackers open their connection here."""
    _for_each_logger(trainer, lambda logger: logger.log_hyperparams(dict(config)))


def log_table(trainer: pl.Trainer, name: str, rows: Sequence[Mapping[str, Any]], step: int) -> None:
    """Logs rows with the same columns to every tracker that supports tables."""

    def call(logger: Logger) -> None:
        if isinstance(logger, Tracker):
            logger.log_table(name, rows, step)

    _for_each_logger(trainer, call)


def log_picture(
    trainer: pl.Trainer, name: str, picture: UInt8[np.ndarray, "height width 3"], step: int
) -> None:
    """Logs a picture, such as a map of weights, to every tracker that supports pictures."""

    def call(logger: Logger) -> None:
        if isinstance(logger, Tracker):
            logger.log_picture(name, picture, step)

    _for_each_logger(trainer, call)


def _for_each_logger(trainer: pl.Trainer, call: Callable[[Logger], None]) -> None:
    if not trainer.is_global_zero:
        return
    for logger in list(trainer.loggers):
        try:
            call(logger)
        except Exception as error:  # whatever a tracker and its server can raise
            trainer.loggers = [other for other in trainer.loggers if other is not logger]
            with suppress(Exception):
                logger.finalize("failed")
            warnings.warn(f"{type(logger).__name__} failed and was removed: {error}", stacklevel=3)
