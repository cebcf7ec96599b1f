"""Freshly initialised networks that are large enough for statistics of their weights."""

from typing import Any

import tiny
import torch
from torch import Tensor, nn

from etude.config.registry import build
from etude.network.stack import BranchOut, StackNetwork

DIM, N_LAYERS = 128, 3


def initialised(name: str, architecture: str = "decoder_only", **given: Any) -> StackNetwork:
    """A network with this initialisation; `values` configure the initialisation."""
    init = tiny.part("architecture/init", name, **given.pop("values", {}))
    mixer = tiny.part("architecture/mixer", "attention", qkv_bias=True, out_bias=True)
    sizes = {"dim": DIM, "n_layers": N_LAYERS, "mixer": mixer, "init": init, "tie": False}
    torch.manual_seed(0)
    return build(tiny.stack(architecture, **(sizes | given)), tiny.VOCAB)


def maps(network: nn.Module) -> dict[str, nn.Linear]:
    """Every linear layer by name, except the head."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and not name.startswith("head")
    }


def tables(network: nn.Module) -> list[Tensor]:
    """The weights of every embedding."""
    return [m.weight for m in network.modules() if isinstance(m, nn.Embedding)]


def ends_of_branches(network: nn.Module) -> list[str]:
    """The names of the layers that write to the residual stream."""
    return [name for name, module in maps(network).items() if isinstance(module, BranchOut)]


def assert_std(weight: Tensor, std: float) -> None:
    """The mean is 0 and the standard deviation is `std`, within sampling error."""
    weight, n = weight.detach(), weight.numel()
    assert abs(float(weight.std()) / std - 1) < 4 / (2 * n) ** 0.5
    assert abs(float(weight.mean())) < 4 * std / n**0.5


def assert_biases_are_0_and_norms_1(network: nn.Module) -> None:
    """Every initialisation sets biases to 0 and norm scales to 1."""
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1:
            assert parameter.eq(0 if name.endswith("bias") else 1).all(), name
