"""The base class of objectives: Lightning runs the loop, the plugin supplies the loss.

The step is exact. `loss` returns a sum over the items that `count` counts; the loader passes the
count of the whole global batch with each micro-batch; here it is summed over the ranks, and the
loss is divided by it once. So the split of a global batch into micro-batches, accumulation steps
and devices never changes the gradient.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeAlias, TypeVar

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.optim import Optimizer

from etude.config.registry import plugin_of
from etude.config.schema.plugins import ArchitectureConfig, ObjectiveConfig
from etude.config.schema.trainer import NonFinite
from etude.data.source import Samples
from etude.data.token_rows import TokenRows
from etude.data.tokenizer import Tokenizer
from etude.errors import DataError
from etude.network.autoregressive import Autoregressive
from etude.network.auxiliary_loss import AuxiliaryLoss
from etude.network.decoding import Decoding
from etude.network.generation import Generator, Request, StopStrings
from etude.network.network import Network, shard
from etude.objective import gradients
from etude.objective.batches import Ids, n_tokens
from etude.objective.loader import EpochSource, MicroBatch, Ranks, StepSource
from etude.objective.loss import BatchSums, Loss
from etude.objective.randomness import SAMPLE, TRAIN, rng
from etude.objective.reward import Reward
from etude.objective.selection import select

C = TypeVar("C", bound=ObjectiveConfig)
B = TypeVar("B")

OptimizerOf: TypeAlias = Callable[[nn.Module], tuple[Optimizer, Callable[[int], float]]]


@dataclass(frozen=True)
class ObjectiveContext:
    """What an objective may use besides its config and its network."""

    tokenizer: Tokenizer
    architecture: ArchitectureConfig
    """The config that the network was built from."""
    seq_len: int
    seed: int
    intra_document: bool
    """Whether attention stays within a document of a packed row."""
    optimizer: OptimizerOf
    """Returns the optimizer of a module's parameters, and step -> factor of the learning rate."""
    non_finite: NonFinite
    decoding: Decoding
    generator: Generator = field(default_factory=Autoregressive)
    reward: Reward | None = None
    teachers: Sequence[str] = ()
    """The runs that trained the reward models."""
    held_out: Sequence[Any] | Samples = ()
    """Held-out records for `show`."""


class Objective(pl.LightningModule, ABC, Generic[C, B]):
    """Base of the group `objective`: `example`, `collate`, `count` and `loss` are the contract."""

    exported_modules: Collection[str] = ()
    """Modules of the objective that are exported to `model/` with the network."""
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

    @property
    def needs_batch_statistic(self) -> bool:
        """Whether `loss` needs `statistic_mean`."""
        return type(self).batch_statistic is not Objective.batch_statistic

    def select_samples(self, samples: Samples) -> Samples:
        """Returns the samples to train on, filtered or re-split; unchanged by default."""
        return samples

    def drop_samples(self, samples: Samples, reason: Callable[[Any], str | None]) -> Samples:
        """Returns the samples whose `reason` is None; `lost` counts the dropped ones by reason.

        Raises DataError if all are dropped.
        """
        kept, lost = select(samples, reason, self.tools.tokenizer)
        self.lost += lost
        return kept

    def cuts(self, sample: Any) -> Iterable[str]:
        """Returns a reason for each part of a sample that is cut off, such as "prompts cut".

        It is called once for each training sample, before the first step; none by default.
        """
        return ()

    def count_cuts(self, samples: Samples) -> None:
        """Adds what `cuts` returns for each sample to `lost`, and the documents cut into rows."""
        if isinstance(samples, TokenRows):
            for what, n in zip(("documents", "tokens"), samples.n_cut, strict=True):
                self.lost += Counter({f"{what} cut at data.seq_len by data.pack=false": n})
        if type(self).cuts is not Objective.cuts:
            self.lost.update(why for i in range(len(samples)) for why in self.cuts(samples[i]))

    def lost_lines(self) -> list[str]:
        """Returns `lost` as lines for a person to read."""
        return [f"not used  {n:,}: {why}" for why, n in self.lost.items()]

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
        completions = self.tools.generator.generate(
            self.network,
            [
                Request(prompt, rng(self.tools.seed, SAMPLE, i), max_new_tokens)
                for i, prompt in enumerate(prompts)
            ],
            self.tools.decoding,
            whole=plugin_of(self.config).declaration.whole_prompt,
            stop=stop,
        )
        return [self.tools.tokenizer.decode(row.ids) for row in completions]

    # The rest connects the contract to Lightning; plugins need not change it.

    def training_step(self, micro: MicroBatch[B], _index: int) -> Tensor:
        """Scales the sum so that Lightning's averaging gives loss / count of the global batch."""
        if micro.index == 0:
            count = float(self.over_ranks(torch.tensor(micro.step_count, dtype=torch.float64)))
            self.batch_sums = BatchSums(count, 0, micro.digest, self.own_counts)
            self.step_batches = []
            if micro.step_batches:
                self.measure_batches((batch, True) for batch in micro.step_batches)
        self.step_batches.append(micro.batch)
        loss = self.loss(micro.batch)
        self.batch_sums.add(loss, n_tokens(micro.batch))
        total = loss.total
        for layer in self._auxiliary_layers.values():
            total = total if (extra := layer.pop()) is None else total + extra
        return total * (self.trainer.world_size * micro.of / (self.batch_sums.count or 1.0))

    def measure_batches(self, batches: Iterable[tuple[B, bool]]) -> None:
        """Sets `statistic_mean`, without gradients or dropout, from the batches flagged true."""
        was_training = self.network.training
        self.network.eval()
        sums = torch.zeros(2, dtype=torch.float64)
        with torch.no_grad():
            for batch, counts in batches:
                terms = float(self.batch_statistic(batch)), self.count(batch)
                sums += counts * torch.tensor(terms, dtype=torch.float64)
        self.network.train(was_training)
        total, count = self.over_ranks(sums).tolist()
        self.statistic_mean = total / (count or 1.0)

    def source(self, samples: Samples, global_batch: int, seed: int, ranks: Ranks) -> StepSource:
        """Returns the source of global batches: the samples, reshuffled every epoch.

        Raises DataError if no sample has anything to train on.
        """
        for i in range(len(samples)):
            example = self.example(samples[i], rng(seed, TRAIN, 0, i))
            if self.count(self.collate([example])) > 0:
                break
        else:
            raise DataError(
                f"{plugin_of(self.config).address}: none of the {len(samples)} samples contains "
                "a token to train on.\n"
                "  Check that the tokenizer covers the text, or increase data.seq_len."
            )
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
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Measures and clips the gradient, or drops it, so that the step changes no weight.

        It is dropped if the loss counts nothing, or if a number is not finite and may be skipped.
        """
        del gradient_clip_algorithm
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
