"""The base class of objectives: Lightning runs the loop, the plugin supplies the loss.

The step is exact. `loss` returns a sum over the items that `count` counts; the loader passes the
count of the whole global batch with each micro-batch; here it is summed over the ranks, and the
loss is divided by it once. So the split of a global batch into micro-batches, accumulation steps
and devices never changes the gradient.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Generic, TypeVar

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Float, Int
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.optim import Optimizer

from etude.config.registry import plugin_of
from etude.config.schema.plugins import ObjectiveConfig
from etude.config.schema.trainer import NonFinite
from etude.data.source import Samples
from etude.data.token_rows import TokenRows
from etude.network.auxiliary_loss import AuxiliaryLoss
from etude.network.generation import GenerationOptions, Request, StopStrings
from etude.network.network import Network, shard
from etude.network.stack import attention_span
from etude.objective import gradients
from etude.objective.batches import Ids, n_tokens
from etude.objective.context import ObjectiveContext
from etude.objective.gathered_rows import GatheredRows
from etude.objective.loader import EpochSource, MicroBatch, Ranks, StepSource
from etude.objective.loss import BatchSums, Loss
from etude.objective.randomness import SAMPLE, TRAIN, rng
from etude.objective.selection import refuse_untrainable, select

C = TypeVar("C", bound=ObjectiveConfig)
B = TypeVar("B")


class Objective(pl.LightningModule, ABC, Generic[C, B]):
    """Base of the group `objective`: `example`, `collate`, `count` and `loss` are the contract."""

    exported_modules: Collection[str] = ()
    """Modules of the objective that are exported to `model/` with the network."""
    unit: str = "tokens"
    """What `count` counts, in the plural, such as tokens, pairs or prompts."""
    own_counts: bool = False
    """Whether `report` divides the metrics by counts of their own instead of that of the loss."""

    def __init__(self, config: C, network: Network, tools: ObjectiveContext) -> None:
        super().__init__()
        self.config = config
        self.network = network
        self.tools = tools
        self.batch_sums = BatchSums()
        self.step_batches: list[B] = []  # of this rank
        self.grad_norm = self.lr = float("nan")
        self.skipped: Counter[str] = Counter()
        """Steps that left the weights unchanged, by reason."""
        self.statistic_mean = 0.0
        self.gathered: GatheredRows | None = None
        self._needs_mean = type(self).batch_statistic is not Objective.batch_statistic
        self.compares_samples = type(self).sample_rows is not Objective.sample_rows
        self.needs_batch_statistic = self._needs_mean or self.compares_samples
        self.lost: Counter[str] = Counter()
        """Samples that are dropped or cut, by reason: shown before training, in summary.json."""
        self.notes: list[str] = []
        """Notes on the samples for the user: shown before training, saved in summary.json."""

    @abstractmethod
    def example(self, record: Any, rng: np.random.Generator) -> Any:
        """Turns a record or token row into an example. Pure: `rng` is its only randomness."""

    @abstractmethod
    def collate(self, examples: Sequence[Any]) -> B:
        """Turns examples into a batch of tensors."""

    @abstractmethod
    def count(self, batch: B) -> float:
        """Returns the number of items that the loss sums over, such as tokens, pairs or prompts."""

    @abstractmethod
    def loss(self, batch: B) -> Loss:
        """Returns sums over the batch: the loss with its gradient, and metrics without."""

    def batch_statistic(self, batch: B) -> Tensor:
        """Returns a sum over a batch; `statistic_mean` is its mean over the global batch.

        Override it if `loss` needs such a mean, over all ranks; otherwise it is not called.
        """
        return torch.zeros(())

    def sample_rows(self, batch: B) -> Float[Tensor, "sample ..."]:
        """Returns a row for each sample of a batch, such as its vector; `all_rows` gathers them.

        Override it if the loss of a sample depends on the other samples of the global batch.
        """
        return torch.zeros(0)

    def all_rows(
        self, rows: Float[Tensor, "own ..."]
    ) -> tuple[Float[Tensor, "sample ..."], Int[Tensor, " own"]]:
        """Returns the rows of every sample of the global batch, and the positions of this batch.

        `rows` are those of this batch, and may carry gradient; the others do not (see `own_sum`).
        """
        if self.gathered is None:  # the batch is all there is
            return rows, torch.arange(len(rows), device=rows.device)
        return self.gathered.with_gradient(rows)

    def select_samples(self, samples: Samples) -> Samples:
        """Returns the samples to train on, filtered or re-split; unchanged by default."""
        return samples

    def drop_samples(self, samples: Samples, reason: Callable[[Any], str | None]) -> Samples:
        """Returns the samples whose `reason` is None; counts others. DataError if none is left."""
        kept, lost = select(samples, reason, self.tools.tokenizer)
        self.lost += lost
        return kept

    def cuts(self, sample: Any) -> Iterable[str]:
        """Returns a reason for each part of a sample that is cut off, such as "prompts cut".

        It is called once for each training sample, before the first step; none by default.
        """
        return ()

    def token_labels(self, example: Any) -> Sequence[str]:
        """Returns what each token of an example is a part of, such as a message, for a person."""
        return ()

    def count_cuts(self, samples: Samples) -> None:
        """Adds what `cuts` returns for each sample to `lost`, and the documents cut into rows."""
        if isinstance(samples, TokenRows):
            for what, n in zip(("documents", "tokens"), samples.n_cut, strict=True):
                self.lost += Counter({f"{what} cut at data.seq_len by data.pack=false": n})
        if type(self).cuts is not Objective.cuts:
            self.lost.update(why for i in range(len(samples)) for why in self.cuts(samples[i]))

    def held_out_batch(self, records: Sequence[Any], rngs: Sequence[np.random.Generator]) -> Any:
        """Returns the batch for `evaluate`; by default, one as in training."""
        return self.collate([self.example(*pair) for pair in zip(records, rngs, strict=True)])

    def evaluate(self, batch: Any) -> tuple[Loss, float]:
        """Returns the validation sums and their count; by default, those of the loss."""
        return self.loss(batch), self.count(batch)

    def report(self, means: Mapping[str, float]) -> dict[str, float]:
        """Returns the metrics to log, computed from the means; by default, the means."""
        return dict(means)

    def show(self, records: Sequence[Any]) -> list[str]:
        """Returns a few outputs on held-out records for a person to read; none by default."""
        return []

    def continuations(
        self, prompts: Sequence[Ids], max_new_tokens: int, stop: StopStrings | None = None
    ) -> list[str]:
        """Returns the network's continuation of each prompt, by the run's `generator`."""
        whole = plugin_of(self.config).declaration.whole_prompt
        completions = self.tools.generator.generate(
            self.network,
            [
                Request(ids, rng(self.tools.seed, SAMPLE, i), max_new_tokens)
                for i, ids in enumerate(prompts)
            ],
            GenerationOptions(self.tools.decoding, whole, stop),
        )
        return [self.tools.tokenizer.decode(row.ids) for row in completions]

    # The rest connects the contract to Lightning; plugins need not change it.

    def training_step(self, micro: MicroBatch[B], _index: int) -> Tensor | None:
        """Scales the sum so that Lightning's averaging gives loss / count of the global batch."""
        if micro.index == 0:
            count = float(self.over_ranks(torch.tensor(micro.step_count, dtype=torch.float64)))
            self.batch_sums = BatchSums(count, 0, micro.digest, self.own_counts)
            self.step_batches = []
            if micro.step_batches and (self._needs_mean or micro.of * self.trainer.world_size > 1):
                with attention_span(self, micro.span):
                    self.measure_batches(micro.step_batches)
        if micro.batch is None:
            return None  # Lightning then computes no gradient
        if self.gathered is not None:
            self.gathered.enter(micro.positions, replay=True)
        self.step_batches.append(micro.batch)
        with attention_span(self, micro.span):
            loss = self.loss(micro.batch)
        self.batch_sums.add(loss, n_tokens(micro.batch))
        total = loss.total
        for layer in self._auxiliary_layers.values():
            total = total if (extra := layer.pop()) is None else total + extra
        return total * (self.trainer.world_size * micro.of / (self.batch_sums.count or 1.0))

    def measure_batches(self, batches: Iterable[tuple[B, Sequence[int]]]) -> None:
        """Sets what `loss` must know of a whole global batch or validation, without gradients.

        Each batch has the positions of its samples in the whole; none if it does not count.
        """
        sums = torch.zeros(2, dtype=torch.float64)
        self.gathered = GatheredRows() if self.compares_samples else None
        with torch.no_grad():
            for batch, positions in batches:
                if self.gathered is not None:
                    self.gathered.add(positions, partial(self.sample_rows, batch))
                if self._needs_mean:
                    sums += bool(positions) * self._statistic_terms(batch)
        if self.gathered is not None:
            self.gathered.gather(self.over_ranks)
        total, count = self.over_ranks(sums).tolist()
        self.statistic_mean = total / (count or 1.0)

    def _statistic_terms(self, batch: B) -> Float[Tensor, "2"]:
        """The `batch_statistic` of a batch, without dropout, and its count."""
        was_training = self.network.training
        self.network.eval()
        terms = float(self.batch_statistic(batch)), self.count(batch)
        self.network.train(was_training)
        return torch.tensor(terms, dtype=torch.float64)

    def source(self, samples: Samples, global_batch: int, seed: int, ranks: Ranks) -> StepSource:
        """Returns the source of global batches: the samples, reshuffled every epoch.

        Raises DataError if no sample has anything to train on.
        """

        def has_targets(i: int) -> bool:
            example = self.example(samples[i], rng(seed, TRAIN, 0, i))
            return self.count(self.collate([example])) > 0

        refuse_untrainable(samples, has_targets, plugin_of(self.config).address)
        return EpochSource(samples, self.example, global_batch, seed, ranks)

    @cached_property
    def _auxiliary_layers(self) -> dict[str, AuxiliaryLoss]:
        """The layers with an auxiliary loss, by name; without the prefix `network.`."""
        layers = {n: m for n, m in self.named_modules() if isinstance(m, AuxiliaryLoss)}
        return {name.removeprefix("network."): layer for name, layer in layers.items()}

    def over_ranks(self, value: Tensor) -> Tensor:
        """Returns the sum of a tensor over the data-parallel processes; `value` is unchanged."""
        return self.trainer.strategy.reduce(value.to(self.device, copy=True), reduce_op="sum")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["skipped"] = dict(self.skipped)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.skipped = Counter(checkpoint["skipped"])

    def configure_model(self) -> None:
        """Shards the network if the strategy has a mesh for it; a second call does nothing."""
        mesh = self.device_mesh
        if mesh is not None and not isinstance(self.network, FSDPModule):
            shard(self.network, mesh["data_parallel"])

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer, factor = self.tools.optimizer(self)
        rates = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rates, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Measures and clips the gradient, or drops it, so that the step changes no weight.

        It is dropped if the loss counts nothing, or if a number is not finite and may be skipped.
        """
        self.lr = float(optimizer.param_groups[0]["lr"])
        parameters = [p for p in self.parameters() if p.grad is not None]
        if self.batch_sums.count == 0:
            self.grad_norm = float("nan")
            self._skip(parameters, gradients.EMPTY)
            return
        norm, self.grad_norm = gradients.total_norm(parameters)
        loss = float(self.over_ranks(self.batch_sums.sums["loss"])) / self.batch_sums.count
        is_finite = bool(np.isfinite([self.grad_norm, loss]).all())
        if not is_finite and self.tools.non_finite is NonFinite.stop:
            numbers = self.trainer.global_step + 1, loss, self.grad_norm, self.batch_sums.digest
            raise gradients.non_finite_error(*numbers)
        for name, layer in self._auxiliary_layers.items():
            metrics = layer.end_step(self.over_ranks)
            self.batch_sums.auxiliary |= {f"{name}/{key}": value for key, value in metrics.items()}
        if not is_finite:
            self._skip(parameters, gradients.NON_FINITE)
        elif gradient_clip_val is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, gradient_clip_val, norm)

    def _skip(self, parameters: Sequence[nn.Parameter], reason: str) -> None:
        self.skipped[reason] += 1
        gradients.drop(parameters)
