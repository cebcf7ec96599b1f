"""Compares optimizers with torch's on the same gradients."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from etude.config.registry import build
from etude.config.schema.plugins import OptimizerConfig
from etude.training.optim import optimizer_parameters

DECAYED = {"up.weight"}


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(5, 4)
        self.up = nn.Linear(4, 3)
        self.norm = nn.LayerNorm(3)


def noise(module: nn.Module, seed: int) -> None:
    """Sets random gradients."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


def parameters_after_steps(
    make: Callable[[Any], torch.optim.Optimizer], fresh: Callable[[], nn.Module] = Small
) -> dict[str, Any]:
    """The parameters after five steps on random, seeded gradients."""
    module = fresh()
    optimizer = make(module)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.grad = noise.to(parameter.dtype)
        optimizer.step()
    return {name: p.detach() for name, p in module.named_parameters()}


def by_hand(module: Small, decay: float) -> list[dict[str, Any]]:
    """The parameter groups that weight decay of matrices only should give."""
    named = dict(module.named_parameters())
    rest = [p for name, p in named.items() if name not in DECAYED]
    return [
        {"params": [named[name] for name in DECAYED], "weight_decay": decay},
        {"params": rest, "weight_decay": 0.0},
    ]


def assert_bit_equal(
    config: OptimizerConfig,
    reference: Callable[[Any], torch.optim.Optimizer],
    fresh: Callable[[], nn.Module] = Small,
) -> None:
    ours = parameters_after_steps(lambda module: build(config, optimizer_parameters(module)), fresh)
    for name, expected in parameters_after_steps(reference, fresh).items():
        assert torch.equal(ours[name], expected), name
