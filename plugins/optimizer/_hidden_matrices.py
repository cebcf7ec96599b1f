"""Optimizers of the matrices inside blocks, combined with AdamW for every other parameter."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import AdamW, Optimizer

from etude import ConfigError, only_with, require
from etude.config import OptimizerConfig, plugin_of
from etude.training import OptimizerParameter, ParameterKind, decay_groups

from ._cautious import make_cautious


@dataclass
class HiddenMatricesConfig(OptimizerConfig):
    """Knobs of orthogonalised momentum, and of AdamW for the other parameters."""

    weight_decay: float = 0.1
    """Decoupled weight decay: each step shrinks matrices by lr * weight_decay. Typical: 0-0.1."""
    cautious: bool = only_with("weight_decay>0", False)
    """Decay only weights that the update moves towards 0 (Chen et al. 2025)."""
    momentum: float = 0.95
    """Decay of the Nesterov momentum that is orthogonalised, in [0, 1)."""
    ns_steps: int = 5
    """Newton-Schulz iterations per update, 1 to 99; each costs three matrix products."""
    adamw_lr: float | None = None
    """Peak learning rate of the parameters that AdamW updates; null = lr."""
    beta1: float = 0.9
    """AdamW's decay of the running mean of gradients, in [0, 1)."""
    beta2: float = 0.95
    """AdamW's decay of the running mean of squared gradients, in [0, 1)."""
    eps: float = 1e-8
    """AdamW's epsilon, added to the root of the mean squared gradient."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("momentum", "beta1", "beta2"):
            value = getattr(self, name)
            require(0 <= value < 1, f"{name} must be in [0, 1), got {value}")
        require(1 <= self.ns_steps < 100, f"ns_steps must be 1 to 99, got {self.ns_steps}")
        rate = self.adamw_lr
        require(rate is None or rate > 0, f"adamw_lr must be positive or null, got {rate}")
        require(self.eps > 0, f"eps must be positive, got {self.eps}")


class CombinedOptimizer(Optimizer):
    """Combines optimizers of different parameters: concatenated groups and shared state."""

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # as torch.optim.Optimizer
        """Takes one step; returns the loss from `closure`, which recomputes the gradients."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        groups = iter(self.param_groups)  # load_state_dict replaces them
        for part in self.parts:
            part.param_groups = [next(groups) for _ in part.param_groups]
            part.state = self.state
            part.step()
        return loss


def with_adamw(
    config: HiddenMatricesConfig,
    parameters: Sequence[OptimizerParameter],
    of_matrices: Callable[[list[dict[str, Any]]], Optimizer],
) -> CombinedOptimizer:
    """Combines `of_matrices(groups)` for matrices inside blocks with fused AdamW for the rest."""
    matrices = {id(p.tensor) for p in parameters if is_hidden(p)}
    if not matrices:
        raise ConfigError(
            f"{plugin_of(config).address}: no trainable matrix is inside a block, so only "
            "AdamW would be used.\n"
            "  Use optimizer=adamw."
        )
    groups = decay_groups(config, parameters)
    hidden = list(select_parameters(groups, lambda tensor: id(tensor) in matrices))
    others = list(select_parameters(groups, lambda tensor: id(tensor) not in matrices))
    for group in others:
        group["lr"] *= 1.0 if config.adamw_lr is None else config.adamw_lr / config.lr
    parts = [of_matrices(hidden)]
    if others:
        betas = (config.beta1, config.beta2)
        parts.append(AdamW(others, lr=config.lr, betas=betas, eps=config.eps, fused=True))
    combined = CombinedOptimizer(parts)
    return make_cautious(combined) if config.cautious else combined


def is_hidden(parameter: OptimizerParameter) -> bool:
    """Whether a parameter is a two-dimensional matrix inside a block."""
    return parameter.kind is ParameterKind.MATRIX and parameter.tensor.ndim == 2


def select_parameters(
    groups: Sequence[dict[str, Any]], selected: Callable[[torch.Tensor], bool]
) -> Iterator[dict[str, Any]]:
    """Yields the groups with only the selected tensors, without empty groups."""
    for group in groups:
        tensors = [tensor for tensor in group["params"] if selected(tensor)]
        if tensors:
            yield {**group, "params": tensors}
