"""Tiny networks with adapters that have learned something."""

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
"""Every adapter and its variants: which plugin, with which values."""
MERGING = ["lora", "rslora", "dora", "ia3", "freeze"]
AT_BASE = [*MERGING, "houlsby", "pfeiffer"]
"""Those that begin as the base."""


def chosen(kind: str) -> dict[str, Any]:  # the config class is the plugin's own
    """The choice of an adapter, as an experiment has it."""
    name, values = KINDS[kind]
    config = tiny.part("adapter", name)
    values = {k: type(vars(config)[k])(v) for k, v in values.items()}
    return {name: tiny.part("adapter", name, **values)}


def network(stack: str, kind: str | None = None, **parts: Any) -> Any:
    """A network whose adapter, if it has one, is no longer what it began as."""
    made = tiny.network(tiny.stack(stack, **parts))
    if kind is not None:
        torch.manual_seed(0)
        adapt(made, chosen(kind))
        learn(made)
    return made.eval()


def learn(made: Any) -> None:
    """Moves everything that an adapter brought."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in layers(made):
            for parameter in layer.own():
                parameter += 0.2 * torch.randn(parameter.shape, generator=draw).to(parameter)
