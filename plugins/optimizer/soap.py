"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner.

Vyas et al. 2024, https://arxiv.org/abs/2409.11321, algorithm 3, as in
https://github.com/nikhilvyas/SOAP: for each axis of a tensor, a running mean of the gradient's
outer products; its eigenvectors, updated every few steps by one power iteration and a QR
decomposition; and Adam on the gradient rotated into these bases. Long axes, such as a vocabulary,
are not rotated; vectors have plain Adam. Biases, norms and embeddings are not decayed.

Deviation: the reference uses the first gradient for the bases only. Here the first step is taken
too, so that it equals the reference's with the first gradient given twice.
Rounding decides the basis of directions in which there was no gradient yet, and Adam depends on the
basis. So how a batch is cut changes the curve, by about 1e-4 after three steps of a tiny network,
and `etude check` reports that.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from etude import only_with, plugin, require
from etude.config import OptimizerConfig
from etude.training import OptimizerParameter, decay_groups

from ._cautious import make_cautious


@dataclass
class SoapConfig(OptimizerConfig):
    weight_decay: float = 0.1
    """Decoupled weight decay: each step shrinks matrices by lr * weight_decay. Typical: 0-0.1."""
    cautious: bool = only_with("weight_decay>0", False)
    """Decay only weights that the update moves towards 0 (Chen et al. 2025)."""
    beta1: float = 0.95
    """Decay of the running mean of gradients, in [0, 1)."""
    beta2: float = 0.95
    """Decay of the running means of squared gradients and of their outer products, in [0, 1)."""
    eps: float = 1e-8
    """Added to the root of the mean squared gradient."""
    basis_every: int = 10
    """Steps between updates of the eigenbases. Typical: 1-100; each costs a QR decomposition."""
    max_basis_dim: int = 2048
    """Longest axis, in elements, that is rotated; its preconditioner has this number squared. The
    paper: 10000."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.beta1 < 1, f"beta1 must be in [0, 1), got {self.beta1}")
        require(0 <= self.beta2 < 1, f"beta2 must be in [0, 1), got {self.beta2}")
        require(self.eps > 0, f"eps must be positive, got {self.eps}")
        for name in ("basis_every", "max_basis_dim"):
            value = vars(self)[name]
            require(value >= 1, f"{name} must be at least 1, got {value}")


def rotated(tensor: Tensor, bases: Sequence[Tensor | None]) -> Tensor:
    """Returns a tensor in these bases, one for each axis; None leaves an axis as it is.

    Transposed bases rotate back.
    """
    for basis in bases:  # each rotates the first axis and makes it the last
        first_last = tensor.movedim(0, -1)
        tensor = first_last if basis is None else first_last @ basis
    return tensor


def outer_product(grad: Tensor, axis: int) -> Tensor:
    """Returns the sum of outer products of a gradient along one axis."""
    rows = grad.movedim(axis, 0).flatten(1)
    return rows @ rows.mT


def eigenvectors(gram: Tensor) -> Tensor:
    """Returns the eigenvectors of a symmetric matrix as columns, the largest eigenvalue first."""
    exact = gram.to(torch.promote_types(gram.dtype, torch.float32))
    return torch.linalg.eigh(exact).eigenvectors.flip(1).to(gram.dtype).contiguous()


def update_basis(state: dict[str, Any], axis: int) -> None:
    """Improves the basis of an axis, and sorts it and the second moment by eigenvalue.

    Bases are stored row by row, as a checkpoint restores them: the layout decides how products
    round.
    """
    power = state[f"gram_{axis}"] @ state[f"basis_{axis}"]
    order = (state[f"basis_{axis}"] * power).sum(dim=0).argsort(descending=True)
    state["exp_avg_sq"] = state["exp_avg_sq"].index_select(axis, order)
    exact = power[:, order].to(torch.promote_types(power.dtype, torch.float32))
    state[f"basis_{axis}"] = torch.linalg.qr(exact).Q.to(power.dtype).contiguous()


def initial_state(parameter: Tensor, group: dict[str, Any]) -> dict[str, Any]:
    """Returns the state before the first step; the bases are those of its gradient."""
    assert parameter.grad is not None
    zeros = torch.zeros_like(parameter)
    state: dict[str, Any] = {"step": 0, "exp_avg": zeros, "exp_avg_sq": zeros.clone()}
    for axis in rotated_axes(parameter, group):
        gram = outer_product(parameter.grad, axis).mul_(1 - group["betas"][1])
        state |= {f"gram_{axis}": gram, f"basis_{axis}": eigenvectors(gram)}
    return state


def rotated_axes(parameter: Tensor, group: dict[str, Any]) -> list[int]:
    """Returns the axes of a parameter that have a basis."""
    short = [axis for axis, n in enumerate(parameter.shape) if n <= group["max_basis_dim"]]
    return short if parameter.ndim > 1 else []


def soap_step(parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    """Updates a parameter from its `.grad`, and then its state."""
    grad = parameter.grad
    assert grad is not None
    beta1, beta2 = group["betas"]
    state["step"] += 1
    bases = [state.get(f"basis_{axis}") for axis in range(parameter.ndim)]
    state["exp_avg"].lerp_(grad, 1 - beta1)
    state["exp_avg_sq"].lerp_(rotated(grad, bases).square(), 1 - beta2)
    root = state["exp_avg_sq"].sqrt().add_(group["eps"])
    back = [None if basis is None else basis.mT for basis in bases]
    update = rotated(rotated(state["exp_avg"], bases) / root, back)
    correction = math.sqrt(1 - beta2 ** state["step"]) / (1 - beta1 ** state["step"])
    parameter.sub_(update, alpha=group["lr"] * correction)
    parameter.mul_(1 - group["lr"] * group["weight_decay"])
    for axis in rotated_axes(parameter, group):
        state[f"gram_{axis}"].lerp_(outer_product(grad, axis), 1 - beta2)
        if state["step"] % group["basis_every"] == 0:
            update_basis(state, axis)


class SoapOptimizer(torch.optim.Optimizer):
    """SOAP as a torch.optim optimizer."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # as torch.optim.Optimizer
        """Takes one step; returns the loss from `closure`, which recomputes the gradients."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    state = self.state[parameter] or initial_state(parameter, group)
                    self.state[parameter] = state
                    soap_step(parameter, state, group)
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads copies of the tensors: how products round depends on their place in memory."""
        super().load_state_dict(state_dict)
        for state in self.state.values():
            state |= {k: v.clone() for k, v in state.items() if isinstance(v, Tensor)}


@plugin(SoapConfig)
def soap(config: SoapConfig, parameters: Sequence[OptimizerParameter]) -> SoapOptimizer:
    """SOAP; weight decay applies to matrices only, unless `groups` says otherwise."""
    defaults = {
        "betas": (config.beta1, config.beta2),
        "eps": config.eps,
        "basis_every": config.basis_every,
        "max_basis_dim": config.max_basis_dim,
    }
    optimizer = SoapOptimizer(decay_groups(config, parameters), defaults)
    return make_cautious(optimizer) if config.cautious else optimizer
