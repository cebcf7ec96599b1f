"""Schedule-Free AdamW: an average of the steps takes the place of a decay of the learning rate.

Defazio et al. 2024, https://arxiv.org/abs/2405.15682, section 3 and appendix (AdamW form), as
`AdamWScheduleFree` in https://github.com/facebookresearch/schedule_free. Gradients are taken at
y = (1 - beta1) z + beta1 x, where z takes Adam's steps without momentum and x is the average of all
z, weighted by the squared learning rate. The network trains at y; x is validated and saved.

Use schedule=constant, whose `schedule.warmup_steps` replaces the paper's warmup, and a learning
rate 1 to 10 times that for AdamW. Biases, norms and embeddings are not decayed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from etude import plugin, require
from etude.config import OptimizerConfig
from etude.training import AveragingOptimizer, OptimizerParameter, decay_groups


@dataclass
class ScheduleFreeConfig(OptimizerConfig):
    weight_decay: float = 0.1
    """Weight decay at y: each step shrinks matrices by about lr * weight_decay. Typical: 0-0.1."""
    beta1: float = 0.9
    """Fraction of the average x in the point y at which gradients are taken, in (0, 1). Long runs:
    0.95-0.98."""
    beta2: float = 0.95
    """Decay of the running mean of squared gradients, in [0, 1). The paper: 0.95-0.999."""
    eps: float = 1e-8
    """Added to the root of the mean squared gradient."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.beta1 < 1, f"beta1 must be in (0, 1), got {self.beta1}")
        require(0 <= self.beta2 < 1, f"beta2 must be in [0, 1), got {self.beta2}")
        require(self.eps > 0, f"eps must be positive, got {self.eps}")


def schedule_free_step(y: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    """Moves y by its `.grad`, and its state: z, the second moment and the sum of weights."""
    assert y.grad is not None
    lr: float = group["lr"]
    beta1, beta2 = group["betas"]
    state["step"] += 1
    state["lr_max"] = max(lr, state["lr_max"])
    state["weight_sum"] += state["lr_max"] ** 2
    share = state["lr_max"] ** 2 / state["weight_sum"] if state["weight_sum"] else 0.0
    state["exp_avg_sq"].mul_(beta2).addcmul_(y.grad, y.grad, value=1 - beta2)
    root = state["exp_avg_sq"].sqrt().div_(math.sqrt(1 - beta2 ** state["step"]))
    update = (y.grad / root.add_(group["eps"])).add_(y, alpha=group["weight_decay"])
    y.lerp_(state["z"], share)  # x moves to z by `share`, and y with it
    y.add_(update, alpha=lr * (beta1 * (1 - share) - 1))
    state["z"].sub_(update, alpha=lr)


class ScheduleFreeOptimizer(AveragingOptimizer):
    """Schedule-Free AdamW as a torch.optim optimizer; parameters hold y."""

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
                    state["z"] = parameter.detach().clone()
                    state["exp_avg_sq"] = torch.zeros_like(parameter)
                    state |= {"step": 0, "weight_sum": 0.0, "lr_max": 0.0}
                schedule_free_step(parameter, state, group)
        return loss

    def eval_weight(self, parameter: nn.Parameter) -> Tensor:
        """Returns the average x = y + (1 - 1 / beta1) (z - y)."""
        z = self.state.get(parameter, {}).get("z", parameter)
        return parameter.lerp(z, 1 - 1 / self.defaults["betas"][0])


@plugin(ScheduleFreeConfig, averages=True, elementwise=True, example={"schedule": "constant"})
def schedule_free(
    config: ScheduleFreeConfig, parameters: Sequence[OptimizerParameter]
) -> ScheduleFreeOptimizer:
    """Schedule-Free AdamW; weight decay applies to matrices only, unless `groups` says so."""
    defaults = {"betas": (config.beta1, config.beta2), "eps": config.eps}
    return ScheduleFreeOptimizer(decay_groups(config, parameters), defaults)
