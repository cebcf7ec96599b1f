"""The base class of objectives: Lightning runs the loop, the plugin supplies the maths.

The step is exact. `loss` returns a sum over what `count` counts; the loader passes the count of
the whole global batch with each micro-batch; here it is summed over the ranks, and the loss is
divided by it once. So how a global batch is cut - micro-batches, accumulation, devices - never
changes the gradient.
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
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from etude.config.registry import plugin_of
from etude.config.schema.plugins import ArchitectureConfig, ObjectiveConfig
from etude.config.schema.trainer import NonFinite
from etude.data.source import Samples, Subset
from etude.data.tokenizer import Tokenizer
from etude.errors import DataError, NonFiniteError
from etude.network.auxiliary_loss import AuxiliaryLoss
from etude.network.decoding import Decoding
from etude.network.generation import Request, StopStrings, generate
from etude.network.network import Network, shard
from etude.objective.batches import Ids, n_tokens
from etude.objective.loader import EpochSource, MicroBatch, Ranks, StepSource
from etude.objective.loss import Loss
from etude.objective.randomness import SAMPLE, TRAIN, rng
from etude.objective.reward import Reward

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
    reward: Reward | None = None
    teachers: Sequence[str] = ()
    """The runs that trained the reward models."""
    held_out: Sequence[Any] | Samples = ()
    """Held-out records for `show`."""


@dataclass
class BatchSums:
    """Detached sums over one global batch, or over one validation pass."""

    count: float = 0.0
    tokens: int = 0
    digest: str = ""
    sums: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    sides: dict[str, float] = field(default_factory=dict[str, float])
    """Metrics of the layers with an auxiliary loss for this step, by name."""

    def add(self, loss: Loss, tokens: int) -> None:
        """Adds a micro-batch."""
        self.tokens += tokens
        for name, value in {"loss": loss.total.detach(), **loss.metrics}.items():
            value = value.double()
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def means(self, over_ranks: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Returns every sum over all ranks, divided by the count."""
        stacked = over_ranks(torch.stack(list(self.sums.values())))
        return dict(zip(self.sums, (stacked / max(self.count, 1.0)).tolist(), strict=True))


class Objective(pl.LightningModule, ABC, Generic[C, B]):
    """Base of the group `objective`: `example`, `collate`, `count` and `loss` are the contract."""

    exported_modules: Collection[str] = ()
    """Modules of the objective that users of the network need, so `model/` contains them, too."""

    def __init__(self, config: C, network: Network, tools: ObjectiveContext) -> None:
        super().__init__()
        self.config = config
        self.network = network
        self.tools = tools
        self.tally = BatchSums()
        self.grad_norm = self.lr = float("nan")
        self.skipped = 0
        self.statistic_mean = 0.0
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
        """Returns how many items the loss of this batch sums over: tokens, pairs, prompts."""

    @abstractmethod
    def loss(self, batch: B) -> Loss:
        """Returns sums over the batch: the loss with its gradient, and metrics without."""

    def batch_statistic(self, batch: B) -> Tensor:
        """Returns a sum over a batch; `statistic_mean` is its mean over the global batch.

        Override it if `loss` needs such a mean, which covers all ranks; otherwise it is not called.
        """
        return torch.zeros(())

    @property
    def needs_batch_statistic(self) -> bool:
        """Whether `loss` needs `statistic_mean`."""
        return type(self).batch_statistic is not Objective.batch_statistic

    def select_samples(self, samples: Samples) -> Samples:
        """Returns the samples to train on, filtered or re-cut; unchanged by default."""
        return samples

    def drop_samples(self, samples: Samples, reason: Callable[[Any], str | None]) -> Samples:
        """Returns samples whose `reason` is None; `notes` counts the dropped ones by reason.

        Raises DataError if none is left.
        """
        reasons = [reason(samples[i]) for i in range(len(samples))]
        against = Counter(why for why in reasons if why is not None)
        said = [f"left out  {n:,} of {len(samples):,} samples: {why}" for why, n in against.items()]
        self.notes += said
        if against.total() == len(samples):
            raise DataError("No sample is left.\n  " + "\n  ".join(said))
        return Subset(samples, [i for i, why in enumerate(reasons) if why is None])

    def held_out_batch(self, records: Sequence[Any], rngs: Sequence[np.random.Generator]) -> Any:
        """Returns the batch for `evaluate`; by default, one like those of training."""
        return self.collate([self.example(*pair) for pair in zip(records, rngs, strict=True)])

    def evaluate(self, batch: Any) -> tuple[Loss, float]:
        """Returns the sums of validation and their count; by default, those of the loss."""
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
        """Returns the network's continuation of each prompt, with the run's `decoding`."""
        written = generate(
            self.network,
            [
                Request(prompt, rng(self.tools.seed, SAMPLE, i), max_new_tokens)
                for i, prompt in enumerate(prompts)
            ],
            self.tools.decoding,
            whole=plugin_of(self.config).declaration.whole_prompt,
            stop=stop,
        )
        return [self.tools.tokenizer.decode(row.ids) for row in written]

    # The rest connects the contract to Lightning; plugins do not need to change it.

    def training_step(self, micro: MicroBatch[B], _index: int) -> Tensor:
        """Scales the sum so that Lightning's divisions leave loss / count of the global batch."""
        if micro.index == 0:
            count = float(self.over_ranks(torch.tensor(micro.step_count, dtype=torch.float64)))
            self.tally = BatchSums(count, digest=micro.digest)
            if micro.window:
                self.measure_batches((batch, True) for batch in micro.window)
        loss = self.loss(micro.batch)
        self.tally.add(loss, n_tokens(micro.batch))
        total = loss.total
        for side in self._sides.values():
            total = total if (said := side.pop()) is None else total + said
        return total * (self.trainer.world_size * micro.of / max(self.tally.count, 1.0))

    def measure_batches(self, batches: Iterable[tuple[B, bool]]) -> None:
        """Sets `statistic_mean`, without gradients or dropout, from the batches flagged true."""
        was_training = self.network.training
        self.network.eval()
        sums = torch.zeros(2, dtype=torch.float64)
        with torch.no_grad():
            for batch, counts in batches:
                said = float(self.batch_statistic(batch)), self.count(batch)
                sums += counts * torch.tensor(said, dtype=torch.float64)
        self.network.train(was_training)
        total, count = self.over_ranks(sums).tolist()
        self.statistic_mean = total / max(count, 1.0)

    def source(self, samples: Samples, window: int, seed: int, ranks: Ranks) -> StepSource:
        """Returns the source of global batches: the samples, reshuffled every epoch.

        Raises DataError if no sample has anything to train on; the check stops at the first
        sample that has.
        """
        for i in range(len(samples)):
            example = self.example(samples[i], rng(seed, TRAIN, 0, i))
            if self.count(self.collate([example])) > 0:
                break
        else:
            raise DataError(
                f"No sample of the {len(samples)} holds a token that "
                f"{plugin_of(self.config).address} is trained on.\n"
                "  The tokenizer may know none of the words, or data.seq_len be too short."
            )
        return EpochSource(samples, self.example, window, seed, ranks)

    @cached_property
    def _sides(self) -> dict[str, AuxiliaryLoss]:
        """The layers with an auxiliary loss, by name; those of the network without prefix."""
        found = {n: m for n, m in self.named_modules() if isinstance(m, AuxiliaryLoss)}
        return {name.removeprefix("network."): module for name, module in found.items()}

    def over_ranks(self, value: Tensor) -> Tensor:
        """Sums a tensor over the data-parallel processes."""
        return self.trainer.strategy.reduce(value.to(self.device), reduce_op="sum")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["skipped"] = self.skipped

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.skipped = checkpoint["skipped"]

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
        """Measures and clips the gradient; drops it, or raises, if its norm is not finite."""
        del gradient_clip_algorithm
        for name, side in self._sides.items():
            said = side.end_step(self.over_ranks)
            self.tally.sides |= {f"{name}/{key}": value for key, value in said.items()}
        self.lr = float(optimizer.param_groups[0]["lr"])
        parameters = [p for p in self.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        self.grad_norm = float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
        if not np.isfinite(self.grad_norm):
            self._refuse_gradient(parameters)
        elif gradient_clip_val is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, gradient_clip_val, norm)

    def _refuse_gradient(self, parameters: Sequence[nn.Parameter]) -> None:
        step = self.trainer.global_step + 1
        if self.tools.non_finite is NonFinite.stop:
            raise NonFiniteError(
                f"The gradient of step {step} is {self.grad_norm}; the weights were not touched.\n"
                f"  Samples of the step: digest {self.tally.digest}.\n"
                "  A lower optimizer.lr or trainer.precision=32 often helps; "
                "trainer.non_finite=skip leaves such steps out and counts them."
            )
        self.skipped += 1
        for parameter in parameters:
            parameter.grad = None
