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
        """Whether this run added it: switched off, it reproduces what the run started from."""

    def forward(self, *given: Any) -> Tensor:
        """Returns the output of the base, adapted while the layer is on."""
        return self.forward_adapted(*given) if self.on else self.base(*given)

    @abstractmethod
    def forward_adapted(self, *given: Any, **named: Any) -> Tensor:  # as the base is called
        """Returns the adapted output."""

    def own(self) -> list[nn.Parameter]:
        """Returns the parameters that it adds."""
        base = {id(parameter) for parameter in self.base.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in base]


class MergingLayer(AdapterLayer):
    """A layer that can be merged; an adapter that declares `merges` has only such layers."""

    @abstractmethod
    def merge(self) -> nn.Module:
        """Returns the base with the adapter merged into its weights."""


@dataclass(frozen=True)
class Place:
    """A module of a network, under its name before any adapter was added."""

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


def places(network: nn.Module, name: str = "") -> Iterator[Place]:
    """Yields every module of a network, except those that adapters added."""
    inner = innermost(network)
    for key, child in inner.named_children():
        place = Place(f"{name}.{key}" if name else key, child, inner)
        yield place
        yield from places(child, place.name)


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
    found = [place for place in places(network) if fits(place.innermost)]
    for pattern in patterns:
        matching_names(pattern, [place.name for place in found])
    freeze_base(network)
    for place in found:
        if any(fnmatchcase(place.name, pattern) for pattern in patterns):
            place.set_module(make(place.module).train(place.module.training))
    return network


def matching_names(pattern: str, names: Sequence[str]) -> list[str]:
    """Returns the names that match a pattern. Raises ValueError, with all names, if none does."""
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        known = dict.fromkeys(re.sub(r"(^|\.)\d+\b", r"\1*", name) for name in names)
        raise ValueError(f"{pattern} fits no name here. There are {', '.join(known)}")
    return found


def freeze_base(network: nn.Module) -> None:
    """Freezes all parameters except those that adapters added."""
    own = {id(parameter) for layer in layers(network) for parameter in layer.own()}
    for parameter in network.parameters():
        if id(parameter) not in own:
            parameter.requires_grad_(False)


def adapt(network: Network, configs: Mapping[str, AdapterConfig]) -> None:
    """Builds adapters in their order; leaves a network that already has adapters unchanged.

    Raises ConfigError for an adapter without trainable parameters.
    """
    if layers(network):
        return
    learns: dict[str, list[nn.Parameter]] = {}
    for name, config in configs.items():
        before = {id(p) for p in network.parameters() if p.requires_grad} if learns else set[int]()
        try:
            build(config, network)
        except ValueError as error:
            raise ConfigError(f"adapter={name}: {error}.") from error
        now = [p for p in network.parameters() if p.requires_grad]
        learns[name] = [p for p in now if id(p) not in before] or now
    for name, parameters in learns.items():
        if not any(parameter.requires_grad for parameter in parameters):
            raise ConfigError(
                f"adapter={name} has nothing to train in adapter=[{','.join(configs)}].\n"
                "  All weights are frozen, by it or by a later adapter. List the adapter that "
                "unfreezes weights last."
            )


def merge(network: Network) -> None:
    """Merges all adapters into the weights, unfreezes these and removes the adapters."""
    for place in list(places(network)):
        while isinstance(place.module, AdapterLayer):
            place = Place(place.name, _merged(place.module), place.parent)
            place.set_module(place.module)
    network.requires_grad_(True)


def _merged(layer: AdapterLayer) -> nn.Module:
    if isinstance(layer.base, AdapterLayer):
        layer.base = _merged(layer.base)
    assert isinstance(layer, MergingLayer), "only what declares `merges` is merged"
    with torch.no_grad():
        return layer.merge()


def can_merge(configs: Mapping[str, AdapterConfig]) -> bool:
    """Whether all of these adapters can be merged into weights."""
    return all(plugin_of(config).declaration.merges for config in configs.values())


def adapter_tensors(network: nn.Module) -> list[str]:
    """Returns the names in `state_dict` that differ from the base: what an adapter run saves."""
    own = {id(parameter) for layer in layers(network) for parameter in layer.own()}
    weights = [n for n, p in network.named_parameters() if p.requires_grad or id(p) in own]
    if not any(p.requires_grad and id(p) not in own for p in network.parameters()):
        return weights
    kept = network.state_dict().keys()
    return weights + [name for name, _ in network.named_buffers() if name in kept]


def load_adapter_tensors(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Loads `adapter_tensors`. Raises CheckpointError if names or shapes differ."""
    state = network.state_dict()
    own = {id(parameter) for layer in layers(network) for parameter in layer.own()}
    missing = [n for n, p in network.named_parameters() if id(p) in own and n not in tensors]
    wrong = [n for n, t in tensors.items() if n not in state or state[n].shape != t.shape]
    if missing or wrong:
        raise CheckpointError(
            f"The adapter does not fit its network: {', '.join((missing + wrong)[:8])}."
        )
    network.load_state_dict(dict(tensors), strict=False)


def parameters(network: nn.Module) -> dict[str, int]:
    """Returns the number of parameters, and of trainable ones."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
    return {"parameters": sum(n for n, _ in sizes), "trainable": sum(n for n, on in sizes if on)}


@contextmanager
def adapters_off(network: nn.Module) -> Generator[None]:
    """Switches the adapters off in the body."""
    switched = [layer for layer in layers(network) if layer.on]
    for layer in switched:
        layer.on = False
    try:
        yield
    finally:
        for layer in switched:
            layer.on = True


def is_base_intact(network: nn.Module) -> bool:
    """Whether the network with its adapters off is, and remains, what the run started from."""
    found = layers(network)
    own = {id(parameter) for layer in found for parameter in layer.own()}
    free = any(p.requires_grad and id(p) not in own for p in network.parameters())
    return bool(found) and not free and all(layer.is_new for layer in found)


class WithoutAdapter(nn.Module):
    """A network with its adapters off: eval mode, no gradients, in no `state_dict`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._held = (network,)  # a tuple hides it from state_dict

    def forward(
        self, inputs: Inputs, where: Bool[Tensor, "batch seq"] | None = None
    ) -> Float[Tensor, "... vocab"]:
        network = self._held[0]
        was_training = network.training
        network.eval()
        try:
            with torch.no_grad(), adapters_off(network):
                return network(inputs, where)
        finally:
            network.train(was_training)
