"""The weights to evaluate, where they are not those that training continues from.

Schedule-free optimizers take gradients at one point and evaluate another, an average of their
steps. Validation, samples, `best/` and `model/` use the latter; checkpoints keep the former.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from contextlib import contextmanager

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.optim import Optimizer


class AveragingOptimizer(Optimizer, ABC):
    """An optimizer whose weights to evaluate differ from those that it trains."""

    @abstractmethod
    def eval_weight(self, parameter: nn.Parameter) -> Tensor:
        """Returns the value to evaluate in place of a parameter; changes nothing."""


def trainable_weights(module: nn.Module) -> dict[str, nn.Parameter]:
    """Returns the trainable parameters by name; for a sharded network, their shards."""
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def put_weights(values: Mapping[str, Tensor], module: nn.Module) -> None:
    """Overwrites the trainable parameters that `values` names."""
    weights = trainable_weights(module)
    with torch.no_grad():
        for name, value in values.items():
            weights[name].copy_(value)


@contextmanager
def eval_weights(trainer: pl.Trainer) -> Generator[None]:
    """Inside, the network has the optimizer's eval weights; after it, the same weights as before.

    They are copied, because an average is not inverted without rounding: validation must not change
    a bit of training.
    """
    averages = _averages(trainer)
    weights = trainable_weights(trainer.lightning_module)
    kept = {name: weights[name].detach().clone() for name in averages}
    put_weights(averages, trainer.lightning_module)
    try:
        yield
    finally:
        put_weights(kept, trainer.lightning_module)


class FinalWeights(pl.Callback):
    """Leaves the eval weights in the network when training ends; callbacks may replace them."""

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        put_weights(_averages(trainer), pl_module)


@torch.no_grad()
def _averages(trainer: pl.Trainer) -> dict[str, Tensor]:
    """Returns the eval weights by name; empty if the optimizer evaluates what it trains."""
    (optimizer,) = trainer.optimizers
    if not isinstance(optimizer, AveragingOptimizer):
        return {}
    weights = trainable_weights(trainer.lightning_module)
    return {name: optimizer.eval_weight(weight) for name, weight in weights.items()}
