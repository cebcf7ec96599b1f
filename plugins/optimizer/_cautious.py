"""Cautious weight decay: only weights that the update moves towards 0 decay.

Chen et al. 2025, https://arxiv.org/abs/2510.12402, algorithm 1:
x - lr (u + weight_decay [u x >= 0] x) for an update u of any optimizer with decoupled decay. It
needs the weights before the step, and for its duration a copy of those that decay.
"""

from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.optim import Optimizer

AnyOptimizer = TypeVar("AnyOptimizer", bound=Optimizer)


def make_cautious(optimizer: AnyOptimizer) -> AnyOptimizer:
    """Makes the decoupled weight decay of an optimizer cautious, and returns the optimizer."""
    before: dict[Tensor, Tensor] = {}
    decays: list[float] = []

    @torch.no_grad()
    def take_decay(*_: Any) -> None:  # as torch calls hooks
        decays[:] = [group["weight_decay"] for group in optimizer.param_groups]
        for group, decay in zip(optimizer.param_groups, decays, strict=True):
            group["weight_decay"] = 0.0
            before.update({p: p.clone() for p in group["params"] if decay})

    @torch.no_grad()
    def apply_decay(*_: Any) -> None:
        for group, decay in zip(optimizer.param_groups, decays, strict=True):
            group["weight_decay"] = decay
            for weight in group["params"]:
                was = before.pop(weight, None)
                if was is not None and weight.grad is not None:
                    agrees = (was - weight) * was >= 0
                    weight.sub_(was * agrees, alpha=group["lr"] * decay)

    optimizer.register_step_pre_hook(take_decay)
    optimizer.register_step_post_hook(apply_decay)
    return optimizer
