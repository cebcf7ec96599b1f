from collections.abc import Callable
from typing import Any

import tiny
import torch
from torch import nn

from etude.contracts import OptimizerParameter, ParameterKind, decay_groups
from etude.network import optimizer_parameters
from etude.registry import build
from etude.schema import OptimizerConfig

DECAYED = {"up.weight"}


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(5, 4)
        self.up = nn.Linear(4, 3)
        self.norm = nn.LayerNorm(3)


def stepped(make: Callable[[Small], torch.optim.Optimizer], steps: int = 5) -> dict[str, Any]:
    """The parameters after some steps on given gradients."""
    module = Small()
    optimizer = make(module)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for parameter in module.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
    return {name: p.detach() for name, p in module.named_parameters()}


def by_hand(module: Small, decay: float) -> list[dict[str, Any]]:
    named = dict(module.named_parameters())
    rest = [p for name, p in named.items() if name not in DECAYED]
    return [
        {"params": [named[name] for name in DECAYED], "weight_decay": decay},
        {"params": rest, "weight_decay": 0.0},
    ]


def assert_bit_equal(
    config: OptimizerConfig, reference: Callable[[Small], torch.optim.Optimizer]
) -> None:
    ours = stepped(lambda module: build(config, optimizer_parameters(module)))
    for name, wanted in stepped(reference).items():
        assert torch.equal(ours[name], wanted), name


def test_is_torchs_with_decay_on_matrices_alone() -> None:
    config = tiny.part(
        "optimizer", "adamw", lr=0.01, beta1=0.8, beta2=0.9, eps=1e-6, weight_decay=0.3
    )
    assert_bit_equal(
        config,
        lambda module: torch.optim.AdamW(
            by_hand(module, 0.3), lr=0.01, betas=(0.8, 0.9), eps=1e-6, fused=True
        ),
    )


def test_decay_groups_hold_every_parameter_once_and_no_group_is_empty() -> None:
    parameters = optimizer_parameters(tiny.network())
    groups = decay_groups(parameters, 0.1)
    held = [id(p) for group in groups for p in group["params"]]
    assert len(held) == len(set(held)) == len(parameters)
    bias = OptimizerParameter("b", nn.Parameter(torch.zeros(2)), ParameterKind.VECTOR)
    assert [group["weight_decay"] for group in decay_groups([bias], 0.1)] == [0.0]
