from typing import Any

import pytest
import tiny
import torch
from optimizers import Small, assert_bit_equal
from torch import Tensor, nn

from etude.config.registry import build
from etude.errors import ConfigError
from etude.network.context import Context
from etude.network.network import Network
from etude.network.parts import Block
from etude.training.optim import optimizer_parameters

VALUES: dict[str, Any] = {"lr": 0.01, "weight_decay": 0.3, "momentum": 0.8, "ns_steps": 4}
ADAMW: dict[str, Any] = {"beta1": 0.7, "beta2": 0.8, "eps": 1e-6}
WRONG = [
    ("momentum", 1.0), ("beta1", -0.1), ("beta2", 1.0), ("ns_steps", 0), ("ns_steps", 100),
    ("adamw_lr", 0.0), ("eps", 0.0),
]  # fmt: skip


class Experts(Block):
    """A block with one matrix per expert, stacked in one tensor."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.experts = nn.Parameter(torch.randn(2, 3, 4))
        self.gate = nn.Linear(4, 2)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return x


def untied() -> Network:
    return tiny.network(tiny.stack(tie=False))


class Two:
    """Torch's Muon and AdamW, stepped one after the other."""

    def __init__(self, module: nn.Module, adamw_lr: float, **adamw: Any) -> None:
        matrices: list[nn.Parameter] = []
        decayed: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for name, parameter in module.named_parameters():
            if ".blocks." in name and parameter.ndim == 2:
                matrices.append(parameter)
            else:
                (decayed if name.startswith("head") else rest).append(parameter)
        self.muon = torch.optim.Muon(
            matrices, **VALUES, nesterov=True, adjust_lr_fn="match_rms_adamw"
        )
        groups = [
            {"params": decayed, "weight_decay": 0.3},
            {"params": rest, "weight_decay": 0.0},
        ]
        self.adamw = torch.optim.AdamW(groups, lr=adamw_lr, fused=True, **adamw)

    def step(self) -> None:
        self.muon.step()
        self.adamw.step()


@pytest.mark.parametrize("adamw_lr", [None, 0.002])
def test_equals_torch_muon_inside_blocks_and_adamw_elsewhere(adamw_lr: float | None) -> None:
    config = tiny.part("optimizer", "muon", **VALUES, **ADAMW, adamw_lr=adamw_lr)
    adamw: dict[str, Any] = {"betas": (0.7, 0.8), "eps": 1e-6}
    reference: Any = lambda module: Two(module, adamw_lr or 0.01, **adamw)  # noqa: E731
    assert_bit_equal(config, reference, untied)


def test_updates_have_the_size_of_adamw_updates() -> None:
    torch.manual_seed(0)
    module = tiny.network(tiny.stack(dim=64))
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    config = tiny.part("optimizer", "muon", lr=0.01, weight_decay=0.0)
    optimizer = build(config, optimizer_parameters(module))
    for parameter in module.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    for name, parameter in module.named_parameters():
        if ".blocks." in name and parameter.ndim == 2:
            size = float((parameter.detach() - before[name]).square().mean().sqrt())
            assert 0.1 < size / 0.01 < 0.3, name  # AdamW: 0.2 to 0.4 in training


def test_experts_stacked_in_one_tensor_use_adamw() -> None:
    module = Experts()
    optimizer = build(tiny.part("optimizer", "muon", lr=0.01), optimizer_parameters(module))
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert set(optimizer.state[module.gate.weight]) == {"momentum_buffer"}
    assert "exp_avg" in optimizer.state[module.experts]


def test_a_network_without_blocks_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"no trainable matrix.*\n.*optimizer=adamw"):
        build(tiny.part("optimizer", "muon", lr=0.01), optimizer_parameters(Small()))


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_values_out_of_range_are_errors(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{key} must be"):
        tiny.part("optimizer", "muon", lr=0.1, **{key: value})
