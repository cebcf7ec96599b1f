"""Lion: steps by the sign of an interpolated momentum, with half of Adam's state.

Chen et al. 2023, https://arxiv.org/abs/2302.06675, program 1. Every element moves by the full
learning rate, so use one 3 to 10 times smaller than for AdamW, and a weight decay larger by the
same factor (section 5). Biases, norms and embeddings are not decayed.
"""

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
class LionConfig(OptimizerConfig):
    weight_decay: float = 0.3
    """Each step shrinks matrices by lr * weight_decay; use 3 to 10 times AdamW's value."""
    cautious: bool = only_with("weight_decay>0", False)
    """Decay only weights that the update moves towards 0 (Chen et al. 2025)."""
    beta1: float = 0.9
    """Weight of the momentum in the step direction, in [0, 1)."""
    beta2: float = 0.99
    """Decay of the momentum, in [0, 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.beta1 < 1, f"beta1 must be in [0, 1), got {self.beta1}")
        require(0 <= self.beta2 < 1, f"beta2 must be in [0, 1), got {self.beta2}")


def lion_step(
    parameter: Tensor, momentum: Tensor, lr: float, decay: float, betas: tuple[float, float]
) -> None:
    """Updates a parameter from its `.grad`, then the momentum; both in place."""
    assert parameter.grad is not None
    beta1, beta2 = betas
    direction = momentum.lerp(parameter.grad, 1 - beta1).sign_()
    parameter.mul_(1 - lr * decay).add_(direction, alpha=-lr)
    momentum.lerp_(parameter.grad, 1 - beta2)


class LionOptimizer(torch.optim.Optimizer):
    """Lion as a torch.optim optimizer."""

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
                lr = group["lr"]
                decay = group["weight_decay"]
                betas = group["betas"]
                lion_step(parameter, state["momentum"], lr, decay, betas)
        return loss


@plugin(LionConfig, elementwise=True)
def lion(config: LionConfig, parameters: Sequence[OptimizerParameter]) -> LionOptimizer:
    """Lion; weight decay applies to matrices only, unless `groups` says otherwise."""
    groups = decay_groups(config, parameters)
    optimizer = LionOptimizer(groups, {"betas": (config.beta1, config.beta2)})
    return make_cautious(optimizer) if config.cautious else optimizer
