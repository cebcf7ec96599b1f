"""Writes a run's step records and checkpoints while it trains.

Everything happens in one place, at the end of a step and in one order: validate, write the record,
save. So a checkpoint always follows a complete record, and a resumed run repeats none.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import lightning.pytorch as pl
import torch

from etude.errors import InterruptedRunError, NonFiniteError, PreemptedError
from etude.files.disk import disk_full_error
from etude.files.run_folder import CHECKPOINTS, STEPS
from etude.files.seal import seal_logs, truncate_after
from etude.formats.checkpoint import delete_old, path_of
from etude.objective.loader import MicroBatch
from etude.objective.objective import Objective
from etude.objective.randomness import global_state, restore_global, seed_global
from etude.objective.ranks import all_gather
from etude.processes import EXIT_CODES, end_process, handling
from etude.training.best_model import BestModel
from etude.training.eval_weights import eval_weights
from etude.training.non_finite import rewind, save_batch
from etude.training.trackers import log_metrics
from etude.training.validation import Validation

SIGNALS = tuple(EXIT_CODES)


@dataclass(frozen=True)
class Intervals:
    """Intervals in steps; the last step always validates and saves a checkpoint."""

    total: int
    validate: int
    save: int
    keep: int
    log: int

    def is_due(self, every: int, step: int) -> bool:
        """Returns whether an action with interval `every` is due at this step."""
        return step % every == 0 or step == self.total


class RunWriter(pl.Callback):
    """Writes `steps.jsonl` and `checkpoints/`; restores random states and counters on resume."""

    def __init__(
        self,
        folder: Path,
        intervals: Intervals,
        validation: Validation,
        seed: int,
        watch: Callable[[Mapping[str, float]], None],
        best: BestModel | None = None,
    ) -> None:
        self.folder = folder
        self.intervals = intervals
        self.validation = validation
        self.seed = seed
        self.watch = watch
        self.best = best
        self.tokens = 0
        self.last: dict[str, float] = {}
        self.stop_signal: int | None = None
        self._random: list[dict[str, Any]] | None = None
        self._random_at_step: dict[str, Any] | None = None
        """This rank's random state at the end of the last step; None before training."""
        self._lines: TextIO | None = None
        self._started = 0.0
        self._handling = ExitStack()

    @property
    def has_started(self) -> bool:
        """Whether training goes on, after the state of a checkpoint was restored."""
        return self._started > 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._random is None:
            seed_global(self.seed + trainer.global_rank)
        else:
            restore_global(self._random[trainer.global_rank % len(self._random)])
        if trainer.is_global_zero:
            self._lines = _reopen(self.folder / STEPS, trainer.global_step)
        if self.best is not None:
            self.best.commit(trainer)
        self._random_at_step = global_state()
        self._started = time.perf_counter()
        self._handling.enter_context(handling(self._on_signal))

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: MicroBatch[Any],
        batch_idx: int,
    ) -> None:
        assert isinstance(pl_module, Objective)
        if not batch.is_last:
            return
        step = trainer.global_step
        intervals = self.intervals
        self.tokens += int(pl_module.over_ranks(torch.tensor(pl_module.batch_sums.tokens)))
        line = self._line(step, pl_module)
        if intervals.is_due(intervals.validate, step):
            line |= self._validate(trainer, pl_module)
        self._write(line)
        self._track(trainer, line)
        stop = self._agreed_stop(pl_module)
        self._random_at_step = global_state()
        if intervals.is_due(intervals.save, step) or trainer.should_stop or stop is not None:
            self.save(trainer)
        if stop is not None and step < intervals.total:
            stopped = InterruptedRunError if stop == signal.SIGINT else PreemptedError
            raise stopped(
                f"Stopped by a signal after step {step}; the run was saved.\n"
                f"  To resume it, run the same command with run={self.folder}."
            )

    def _agreed_stop(self, objective: Objective[Any, Any]) -> int | None:
        """Returns the signal that any rank has received: all must stop at the same step."""
        mine = torch.tensor([int(self.stop_signal == number) for number in SIGNALS])
        received = objective.over_ranks(mine).tolist()
        return next((n for n, seen in zip(SIGNALS, received, strict=True) if seen), None)

    def _validate(self, trainer: pl.Trainer, objective: Objective[Any, Any]) -> dict[str, float]:
        """Validates, and calls the callbacks' validation hooks as Lightning would.

        From on_validation_start to on_validation_end the weights are those that are validated and
        written to `best/`: the optimizer's eval weights, or what a callback makes of them.
        """
        others: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined] -- its connector
        others = [callback for callback in others if callback is not self]
        with eval_weights(trainer):
            for callback in others:
                callback.on_validation_start(trainer, objective)
            measured = self.validation.measure(objective)
            objective.log_dict(measured, logger=False)
            if self.best is not None:
                self.best.update(trainer, trainer.global_step, measured)
            for callback in others:
                callback.on_validation_epoch_end(trainer, objective)
            for callback in others:
                callback.on_validation_end(trainer, objective)
        logged = {k for k in trainer.callback_metrics if k.startswith("val/")} - measured.keys()
        return {**measured, **{k: float(trainer.callback_metrics[k]) for k in sorted(logged)}}

    def _track(self, trainer: pl.Trainer, line: Mapping[str, Any]) -> None:
        """Logs to the trackers at the logging interval and after each validation."""
        if line["step"] % self.intervals.log and "val/loss" not in line:
            return
        log_metrics(trainer, {k: v for k, v in line.items() if k != "samples"}, line["step"])

    def save(self, trainer: pl.Trainer) -> None:
        """Writes the checkpoint of the current step, then deletes older ones."""
        place = self.folder / CHECKPOINTS
        with disk_full_error(place):
            if self._lines is not None:
                os.fsync(self._lines.fileno())
            path = path_of(place, trainer.global_step)
            trainer.save_checkpoint(path)
            if trainer.is_global_zero:
                seal_logs(self.folder, trainer.global_step)
                delete_old(path, self.intervals.keep)
            if self.best is not None:
                self.best.commit(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._handling.close()  # before Lightning restores the handlers that it has found

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.best is not None:  # a run killed after its last checkpoint
            self.best.commit(trainer)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if isinstance(exception, NonFiniteError):
            assert isinstance(pl_module, Objective)
            self._save_before(exception, trainer, pl_module)
        self._close()

    def _save_before(
        self, error: NonFiniteError, trainer: pl.Trainer, objective: Objective[Any, Any]
    ) -> None:
        """Saves the last step that was taken, and the batch of the one that was not."""
        step = trainer.global_step + 1
        place = save_batch(objective, step, trainer.global_rank, self.folder)
        saved = "No step was taken before it"
        if trainer.global_step:
            rewind(trainer, trainer.accumulate_grad_batches)
            self.save(trainer)
            saved = f"Step {trainer.global_step} was saved"
        error.args = (
            f"{error}\n  {saved}; its batch is in {place}.\n"
            f"  etude reproduce run={self.folder} step={step} repeats this step alone.",
        )

    def _close(self) -> None:
        if self._lines is not None:
            self._lines.close()
            self._lines = None
        self._handling.close()

    def state_dict(self) -> dict[str, Any]:
        best = {} if self.best is None else self.best.at
        random = all_gather(self._random_at_step or global_state())
        return {"tokens": self.tokens, "last": self.last, "best": best, "random": random}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.tokens = state_dict["tokens"]
        self.last = state_dict["last"]
        self._random = state_dict["random"]
        if self.best is not None:
            self.best.at = state_dict["best"]

    def _line(self, step: int, objective: Objective[Any, Any]) -> dict[str, Any]:
        sums = objective.batch_sums
        return {
            "step": step,
            **objective.report(sums.means(objective.over_ranks)),
            **sums.auxiliary,
            "grad_norm": objective.grad_norm,
            "lr": objective.lr,
            "tokens": self.tokens,
            "skipped": objective.skipped.total(),
            "samples": sums.digest,
            "seconds": round(time.perf_counter() - self._started, 3),
        }

    def _write(self, line: dict[str, Any]) -> None:
        numbers = {k: v for k, v in line.items() if k != "samples"}
        self.last = {**self.last, **numbers}
        if self._lines is not None:
            with disk_full_error(self.folder / STEPS):
                self._lines.write(json.dumps(line) + "\n")
                self._lines.flush()
        self.watch(numbers)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Lets the current step finish; a second Ctrl-C stops immediately."""
        if number == signal.SIGINT and self.stop_signal == signal.SIGINT:
            end_process(number, "This step was not saved.")
        self.stop_signal = number


def _reopen(file: Path, step: int) -> TextIO:
    """Opens the step records after the line of `step`; truncates lines of lost steps."""
    truncate_after(file, step)
    return file.open("a", encoding="utf-8")
