"""Tiny networks with adapters whose parameters have random values."""

from typing import Any

import tiny
import torch

from etude.network.adapter import adapt, layers

STACKS = ["decoder_only", "encoder_only", "encoder_decoder"]
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("lora", {"targets": ["*"], "rank": 3}),
    "rslora": ("lora", {"rslora": True, "rank": 3}),
    "dora": ("lora", {"dora": True, "rank": 3}),
    "ia3": ("ia3", {}),
    "houlsby": ("bottleneck", {"size": 3}),
    "pfeiffer": ("bottleneck", {"size": 3, "placement": "pfeiffer"}),
    "prefix": ("prefix", {"length": 3}),
    "prompt_tuning": ("prompt_tuning", {"length": 3}),
    "freeze": ("freeze", {}),
}
"""Every adapter and its variants: the plugin and its values."""
MERGING = ["lora", "rslora", "dora", "ia3", "freeze"]
AT_BASE = [*MERGING, "houlsby", "pfeiffer"]
"""Adapters that initially compute what the base model does."""


def choice(kind: str) -> dict[str, Any]:  # the config class is the plugin's own
    """The value of `adapter` in an experiment that uses this adapter."""
    name, values = KINDS[kind]
    config = tiny.part("adapter", name)
    values = {k: type(vars(config)[k])(v) for k, v in values.items()}
    return {name: tiny.part("adapter", name, **values)}


def network(stack: str, kind: str | None = None, **parts: Any) -> Any:
    """A network; its adapter, if any, no longer has its initial values."""
    made = tiny.network(tiny.stack(stack, **parts))
    if kind is not None:
        torch.manual_seed(0)
        adapt(made, choice(kind))
        randomise(made)
    return made.eval()


def randomise(network: Any) -> None:
    """Adds noise to every parameter of the adapter."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in layers(network):
            for parameter in layer.added_parameters():
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator).to(parameter)
