"""The group `logger`: where a run's numbers are shown, behind a fence.

No tracker is worth a run: one that fails is left out with a warning, and is closed all the same,
or the next job of a sweep would go on in its run.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import Logger


class Tracker(Logger, ABC):
    """Base of the group `logger`; only the first process of a run calls what it offers."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    @property
    def name(self) -> str:
        """What the run is called."""
        return self.folder.name

    @property
    def version(self) -> str:
        """What tells the run from others of its name."""
        return ""

    @abstractmethod
    def log_metrics(self, metrics: Mapping[str, int | float], step: int | None = None) -> None:
        """Takes the numbers of a step."""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Takes the config, flat, at the start; most have no place for it."""

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]], step: int) -> None:
        """Takes what the network says at a step, a row a text; some have no place for it."""

    @abstractmethod
    def close(self, succeeded: bool) -> None:
        """Ends what was begun, if anything was; may be called again."""

    def finalize(self, status: str) -> None:
        """What Lightning calls at the end, good or bad."""
        try:
            self.close(status == "success")
        except Exception as error:  # whatever a tracker and its server can raise
            warnings.warn(f"{type(self).__name__} did not close: {error}", stacklevel=2)


def tell(trainer: pl.Trainer, numbers: Mapping[str, float], step: int) -> None:
    """Gives every tracker the numbers of a step."""
    _each(trainer, lambda logger: logger.log_metrics(dict(numbers), step))


def tell_config(trainer: pl.Trainer, config: Mapping[str, Any]) -> None:
    """Gives every tracker the config by full keys; what opens a connection opens it here."""
    _each(trainer, lambda logger: logger.log_hyperparams(dict(config)))


def tell_table(
    trainer: pl.Trainer, name: str, rows: Sequence[Mapping[str, Any]], step: int
) -> None:
    """Gives rows with the same columns to every tracker that has a place for text."""

    def act(logger: Logger) -> None:
        if isinstance(logger, Tracker):
            logger.log_table(name, rows, step)

    _each(trainer, act)


def _each(trainer: pl.Trainer, act: Callable[[Logger], None]) -> None:
    if not trainer.is_global_zero:
        return
    for logger in list(trainer.loggers):
        try:
            act(logger)
        except Exception as error:  # whatever a tracker and its server can raise
            trainer.loggers = [other for other in trainer.loggers if other is not logger]
            with suppress(Exception):
                logger.finalize("failed")
            warnings.warn(f"{type(logger).__name__} failed, left out: {error}", stacklevel=3)
