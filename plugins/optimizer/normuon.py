"""NorMuon: Muon whose orthogonalised updates are normalised for each neuron.

Li et al. 2025, https://arxiv.org/abs/2510.05491, algorithm 1: after orthogonalisation, the rows of
an update still differ in size, so each is divided by the root of a running mean of its squares; the
update of an [a, b] matrix is then scaled to the norm 0.2 sqrt(a b), the size of AdamW's, so that
the same learning rate fits both. As in https://github.com/zichongli5/NorMuon, with Nesterov
momentum. AdamW updates everything but the matrices inside blocks, as with optimizer=muon.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from etude import plugin, require
from etude.training import OptimizerParameter

from ._hidden_matrices import CombinedOptimizer, HiddenMatricesConfig, with_adamw

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Muon's quintic: it raises small singular values fast, and ends between about 0.7 and 1.2."""


@dataclass
class NormuonConfig(HiddenMatricesConfig):
    row_beta: float = 0.95
    """Decay of the running mean square of each row of the updates, in [0, 1). The paper: 0.95."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.row_beta < 1, f"row_beta must be in [0, 1), got {self.row_beta}")


def orthogonalised(matrix: Float[Tensor, "a b"], steps: int) -> Float[Tensor, "a b"]:
    """Returns nearly U V^T of a matrix U S V^T, by Newton-Schulz iterations in bfloat16."""
    a, b, c = COEFFICIENTS
    wide = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if wide else matrix.mT).bfloat16()
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).to(matrix.dtype)


def normalised(
    update: Float[Tensor, "a b"], mean_square: Float[Tensor, "a 1"], beta: float
) -> Float[Tensor, "a b"]:
    """Returns the update with normalised rows and a root mean square of 0.2.

    Adds it to the running mean square of its rows first.
    """
    mean_square.lerp_(update.square().mean(dim=1, keepdim=True), 1 - beta)
    update = update / mean_square.sqrt().add_(1e-10)
    return update * (0.2 * math.sqrt(update.numel()) / update.norm().add_(1e-10))


class NormuonOptimizer(Optimizer):
    """NorMuon of matrices as a torch.optim optimizer."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # as torch.optim.Optimizer
        """Takes one step; returns the loss from `closure`, which recomputes the gradients."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                    state["mean_square"] = parameter.new_zeros(parameter.shape[0], 1)
                state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                nesterov = parameter.grad.lerp(state["momentum"], group["momentum"])
                update = orthogonalised(nesterov, group["ns_steps"])
                update = normalised(update, state["mean_square"], group["row_beta"])
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.sub_(update, alpha=group["lr"])
        return loss


@plugin(NormuonConfig)
def normuon(config: NormuonConfig, parameters: Sequence[OptimizerParameter]) -> CombinedOptimizer:
    """NorMuon and fused AdamW, combined into one optimizer."""
    defaults = {
        "momentum": config.momentum,
        "ns_steps": config.ns_steps,
        "row_beta": config.row_beta,
    }
    return with_adamw(config, parameters, lambda groups: NormuonOptimizer(groups, defaults))
