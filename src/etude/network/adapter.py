"""Adapters: trainable layers in a frozen network, which can be switched off and may be merged.

An adapter replaces modules of a network with layers of its own, each wrapping the module that it
replaces. `adapt` builds them; the base is then frozen, except for what an adapter unfreezes.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from etude.config.registry import build, plugin_of
from etude.config.schema.plugins import AdapterConfig
from etude.errors import CheckpointError, ConfigError
from etude.network.inputs import Inputs
from etude.network.network import Network


class AdapterLayer(nn.Module, ABC):
    """Replaces a module of the network and wraps it as `base`."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.on = True
        self.is_new = True
        """Whether this run added it: switched off, it restores the run's initial network."""

    def forward(self, *args: Any) -> Tensor:
        """Returns the output of the base, adapted while the layer is on."""
        return self.forward_adapted(*args) if self.on else self.base(*args)

    @abstractmethod
    def forward_adapted(self, *args: Any, **kwargs: Any) -> Tensor:  # the arguments of the base
        """Returns the adapted output of the base."""

    def added_parameters(self) -> list[nn.Parameter]:
        """Returns the parameters that the layer adds to its base."""
        base = {id(parameter) for parameter in self.base.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in base]


class MergingLayer(AdapterLayer):
    """A layer that can be merged; an adapter that declares `merges` has only such layers."""

    @abstractmethod
    def merge(self) -> nn.Module:
        """Returns the base with the adapter merged into its weights."""


@dataclass(frozen=True)
class ModuleSlot:
    """Where a module of a network is stored; its name does not depend on adapters."""

    name: str
    module: nn.Module
    """The current module: the original one, or an adapter around it."""
    parent: nn.Module

    @property
    def innermost(self) -> nn.Module:
        """The original module."""
        return innermost(self.module)

    def set_module(self, module: nn.Module) -> None:
        """Replaces the current module."""
        setattr(self.parent, self.name.rpartition(".")[2], module)


def module_slots(network: nn.Module, name: str = "") -> Iterator[ModuleSlot]:
    """Yields the slot of every module of a network, except those that adapters added."""
    inner = innermost(network)
    for key, child in inner.named_children():
        slot = ModuleSlot(f"{name}.{key}" if name else key, child, inner)
        yield slot
        yield from module_slots(child, slot.name)


def innermost(module: nn.Module) -> nn.Module:
    """Returns the module inside all adapters around it."""
    while isinstance(module, AdapterLayer):
        module = module.base
    return module


def linears(network: Network) -> Callable[[nn.Module], bool]:
    """Returns a test for linear modules whose weights are not tied to a token table."""
    tables = {id(m.weight) for m in network.modules() if isinstance(m, nn.Embedding)}
    return lambda module: isinstance(module, nn.Linear) and id(module.weight) not in tables


def linear_of(module: nn.Module) -> nn.Linear:
    """Returns the linear map inside the adapters around it."""
    inner = innermost(module)
    assert isinstance(inner, nn.Linear)
    return inner


def layers(network: nn.Module) -> list[AdapterLayer]:
    """Returns every layer that an adapter added, outer ones first."""
    return [module for module in network.modules() if isinstance(module, AdapterLayer)]


def insert(
    network: Network,
    patterns: Sequence[str],
    fits: Callable[[nn.Module], bool],
    make: Callable[[nn.Module], AdapterLayer],
) -> Network:
    """Freezes the network and wraps, with `make`, each module that fits and matches a pattern.

    Raises ValueError for a pattern that matches no fitting module.
    """
    candidates = [slot for slot in module_slots(network) if fits(slot.innermost)]
    for pattern in patterns:
        matching_names(pattern, [slot.name for slot in candidates])
    freeze_base(network)
    for slot in candidates:
        if any(fnmatchcase(slot.name, pattern) for pattern in patterns):
            slot.set_module(make(slot.module).train(slot.module.training))
    return network


def matching_names(pattern: str, names: Sequence[str]) -> list[str]:
    """Returns the names that match a pattern. Raises ValueError, listing all, if none does."""
    matches = [name for name in names if fnmatchcase(name, pattern)]
    if not matches:
        known = dict.fromkeys(re.sub(r"(^|\.)\d+\b", r"\1*", name) for name in names)
        raise ValueError(f"{pattern} matches no name. Available: {', '.join(known)}")
    return matches


def freeze_base(network: nn.Module) -> None:
    """Freezes all parameters except those that adapters added."""
    added = {id(p) for layer in layers(network) for p in layer.added_parameters()}
    for parameter in network.parameters():
        if id(parameter) not in added:
            parameter.requires_grad_(False)


def adapt(network: Network, configs: Mapping[str, AdapterConfig]) -> None:
    """Builds adapters in their order; leaves a network that already has adapters unchanged.

    Raises ConfigError for an adapter without trainable parameters.
    """
    if layers(network):
        return
    trained: dict[str, list[nn.Parameter]] = {}
    for name, config in configs.items():
        before = {id(p) for p in network.parameters() if p.requires_grad} if trained else set[int]()
        try:
            build(config, network)
        except ValueError as error:
            raise ConfigError(f"adapter={name}: {error}.") from error
        now = [p for p in network.parameters() if p.requires_grad]
        trained[name] = [p for p in now if id(p) not in before] or now
    for name, parameters in trained.items():
        if not any(parameter.requires_grad for parameter in parameters):
            raise ConfigError(
                f"adapter={name} has no trainable weights in adapter=[{','.join(configs)}].\n"
                "  All weights are frozen, by it or by a later adapter. List the adapter that "
                "unfreezes weights last."
            )


def merge(network: Network) -> None:
    """Merges all adapters into the weights, unfreezes these and removes the adapters."""
    for slot in list(module_slots(network)):
        while isinstance(slot.module, AdapterLayer):
            slot = ModuleSlot(slot.name, _merge_layer(slot.module), slot.parent)
            slot.set_module(slot.module)
    network.requires_grad_(True)


def _merge_layer(layer: AdapterLayer) -> nn.Module:
    if isinstance(layer.base, AdapterLayer):
        layer.base = _merge_layer(layer.base)
    assert isinstance(layer, MergingLayer), "`can_merge` allows mergeable layers only"
    with torch.no_grad():
        return layer.merge()


def can_merge(configs: Mapping[str, AdapterConfig]) -> bool:
    """Whether all of these adapters can be merged into weights."""
    return all(plugin_of(config).declaration.merges for config in configs.values())


def adapter_tensors(network: nn.Module) -> list[str]:
    """Returns the names in `state_dict` that differ from the base: what an adapter run saves."""
    added = {id(p) for layer in layers(network) for p in layer.added_parameters()}
    weights = [n for n, p in network.named_parameters() if p.requires_grad or id(p) in added]
    if not any(p.requires_grad and id(p) not in added for p in network.parameters()):
        return weights
    kept = network.state_dict().keys()
    return weights + [name for name, _ in network.named_buffers() if name in kept]


def load_adapter_tensors(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Loads `adapter_tensors`. Raises CheckpointError if names or shapes differ."""
    state = network.state_dict()
    added = {id(p) for layer in layers(network) for p in layer.added_parameters()}
    missing = [n for n, p in network.named_parameters() if id(p) in added and n not in tensors]
    wrong = [n for n, t in tensors.items() if n not in state or state[n].shape != t.shape]
    if missing or wrong:
        raise CheckpointError(
            f"Missing, unexpected or misshapen adapter tensors: {', '.join((missing + wrong)[:8])}."
        )
    network.load_state_dict(dict(tensors), strict=False)


def parameter_counts(network: nn.Module) -> dict[str, int]:
    """Returns the number of all parameters and of the trainable ones."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
    return {"parameters": sum(n for n, _ in sizes), "trainable": sum(n for n, on in sizes if on)}


@contextmanager
def adapters_off(network: nn.Module) -> Generator[None]:
    """Switches the adapters off in the body."""
    active = [layer for layer in layers(network) if layer.on]
    for layer in active:
        layer.on = False
    try:
        yield
    finally:
        for layer in active:
            layer.on = True


def is_base_intact(network: nn.Module) -> bool:
    """Whether switching the adapters off restores the run's initial network, now and later."""
    adapters = layers(network)
    added = {id(p) for layer in adapters for p in layer.added_parameters()}
    base_trains = any(p.requires_grad and id(p) not in added for p in network.parameters())
    return bool(adapters) and not base_trains and all(layer.is_new for layer in adapters)


class WithoutAdapter(nn.Module):
    """A network with its adapters off: eval mode, no gradients, in no `state_dict`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._network = (network,)  # a tuple hides it from state_dict

    def forward(
        self, inputs: Inputs, where: Bool[Tensor, "batch seq"] | None = None
    ) -> Float[Tensor, "... vocab"]:
        network = self._network[0]
        was_training = network.training
        network.eval()
        try:
            with torch.no_grad(), adapters_off(network):
                return network(inputs, where)
        finally:
            network.train(was_training)
