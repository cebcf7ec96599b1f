"""Training speed: tokens per second, time spent waiting for data, model FLOPs utilisation.

Model FLOPs utilisation: Chowdhery et al. 2022 (PaLM), https://arxiv.org/abs/2204.02311, appendix B,
with two deviations: torch counts the FLOPs of the first micro-batch instead of a formula, and the
peak is the measured speed of a large matrix product on this device, not a number from a data sheet.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from etude import plugin, require
from etude.config import CallbackConfig
from etude.files import truncate_after
from etude.objective import MicroBatch, Objective
from etude.training import counter, log_metrics

FILE = "perf.jsonl"


@dataclass
class ThroughputConfig(CallbackConfig):
    every: int = 20
    """Steps between measurements; the first step after a start is warm-up and is not counted."""

    def __post_init__(self) -> None:
        require(self.every >= 1, f"every must be at least 1, got {self.every}")


def peak_flops(trainer: pl.Trainer, module: pl.LightningModule) -> float:
    """Peak FLOP/s: the fastest of a few square matrix products in the run's precision."""
    kind = next(p.dtype for p in module.parameters())
    device = module.device
    size = 1024 if device.type == "cpu" else 8192  # enough to saturate it
    draw = torch.Generator(device).manual_seed(0)  # products of zeros and ones are faster
    a = torch.rand(size, size, generator=draw, device=device, dtype=kind)
    best = 0.0
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        for _ in range(5):
            start = time.perf_counter()
            float((a @ a)[0, 0])  # waits for the device
            best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


def flops_of(trainer: pl.Trainer, objective: Objective[Any, Any], batch: Any) -> int:
    """FLOPs of a batch's forward and backward pass, counted in a pass without side effects."""
    weights = [p for p in objective.parameters() if p.requires_grad]
    buffers = [(b, b.detach().clone()) for b in objective.buffers()]
    with (
        torch.random.fork_rng(),
        torch.compiler.set_stance("force_eager"),  # the counter cannot see compiled kernels
        trainer.precision_plugin.forward_context(),
        counter() as counted,
    ):
        total = objective.loss(batch).total
        torch.autograd.grad(total, weights, allow_unused=True)  # leaves .grad unchanged
    for buffer, before in buffers:
        buffer.copy_(before)
    return counted.get_total_flops()


@plugin(ThroughputConfig)
class Throughput(pl.Callback):
    """Writes `perf.jsonl` in the run folder and logs to the trackers; training is not affected.

    Times include validation and checkpoints, which are part of a run. Rates are totals over all
    ranks; `perf/mfu` is omitted under a strategy that shards the network.
    """

    def __init__(self, config: ThroughputConfig) -> None:
        self.every = config.every
        self.peak = 0.0
        self.flops = 0
        self.steps = self.tokens = self.micro_batches = 0
        self.began = self.ended = self.waited = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            truncate_after(Path(trainer.default_root_dir) / FILE, trainer.global_step)
        self.steps = -1  # until the first step of this start is over

    def on_train_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: MicroBatch[Any],
        batch_idx: int,
    ) -> None:
        assert isinstance(pl_module, Objective)
        self.waited += time.perf_counter() - self.ended
        is_first = self.steps < 0 and batch.is_last
        if is_first and batch.batch is not None and pl_module.device_mesh is None:
            self.peak = peak_flops(trainer, pl_module)
            self.flops = flops_of(trainer, pl_module, batch.batch)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: MicroBatch[Any],
        batch_idx: int,
    ) -> None:
        assert isinstance(pl_module, Objective)
        self.micro_batches += batch.batch is not None
        if batch.is_last:
            self.steps += 1
            self.tokens += pl_module.batch_sums.tokens
            if self.steps == 0:
                self._begin()
            elif self.steps == self.every:
                self._report(trainer, pl_module)
                self._begin()
        self.ended = time.perf_counter()

    def _begin(self) -> None:
        self.steps = self.tokens = self.micro_batches = 0
        self.waited = 0.0
        self.began = time.perf_counter()

    def _report(self, trainer: pl.Trainer, objective: Objective[Any, Any]) -> None:
        seconds = time.perf_counter() - self.began
        tokens = int(objective.over_ranks(torch.tensor(self.tokens)))
        line = {
            "perf/tokens_per_s": tokens / seconds,
            "perf/steps_per_s": self.steps / seconds,
            "perf/data_wait": self.waited / seconds,
        }
        if self.flops:
            each = self.flops * self.micro_batches / seconds
            line |= {"perf/flops_per_s": each * trainer.world_size, "perf/mfu": each / self.peak}
        if trainer.is_global_zero:
            with (Path(trainer.default_root_dir) / FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": trainer.global_step, **line}) + "\n")
        log_metrics(trainer, line, trainer.global_step)
