"""Laws of adapters: start as the base, leave the base unchanged, and train."""

import copy

import torch
from torch import Tensor

from etude.laws import architecture
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, holds, not_applicable
from etude.network.adapter import adapt, layers, merge, parameters
from etude.network.inputs import Inputs
from etude.network.network import Network

ROUNDING = 1e-10


def it_starts_as_the_base(trial: Trial) -> Finding:
    """Before training, the adapted network has the same outputs as the base."""
    base = _base(trial)
    off = _apart(_said(base), _said(_adapted(trial, base)))
    return holds(off <= ROUNDING, f"logits are {off:.2g} apart")


def some_weights_learn_and_get_gradients(trial: Trial) -> Finding:
    """Some weights are trainable, and after a change from initialization all get gradients."""
    made = _adapted(trial, _base(trial))
    _move(made)
    _said(made).square().sum().backward()
    learns = {name: p for name, p in made.named_parameters() if p.requires_grad}
    idle = [name for name, p in learns.items() if p.grad is None or not bool(p.grad.any())]
    if idle:
        return broken(f"{len(idle)} of {len(learns)} get no gradient: {', '.join(idle[:3])}")
    n_all, n_free = parameters(made).values()
    return held(f"{n_free:,} of {n_all:,} parameters")


def switched_off_it_is_the_base(trial: Trial) -> Finding:
    """With its layers disabled, the outputs are the base's, as a reference policy needs."""
    base = _base(trial)
    made = _adapted(trial, base)
    if not layers(made):
        return not_applicable("it puts no layers in")
    _move(made)
    for layer in layers(made):
        layer.on = False
    off = _apart(_said(base), _said(made))
    return holds(off <= ROUNDING, f"logits are {off:.2g} apart")


def merged_it_says_the_same(trial: Trial) -> Finding:
    """Merged into the base's weights, it has the same outputs."""
    if not trial.plugin.declaration.merges:
        return not_applicable("it does not declare merges")
    made = _adapted(trial, _base(trial))
    _move(made)
    with torch.no_grad():
        before = _said(made)
        merge(made)
        off = _apart(before, _said(made))
    return holds(off <= ROUNDING and not layers(made), f"logits are {off:.2g} apart")


def _base(trial: Trial) -> Network:
    with torch.no_grad():
        return architecture.random_network(trial.config.architecture)


def _adapted(trial: Trial, base: Network) -> Network:
    made = copy.deepcopy(base)
    adapt(made, trial.config.adapter)
    return made.double().eval()


def _move(made: Network) -> None:
    """Changes the value of every trainable weight."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter.add_(0.3 * noise)


def _said(made: Network) -> Tensor:
    return made(Inputs(architecture.tokens(2, 7)))


def _apart(one: Tensor, two: Tensor) -> float:
    return float((one - two).abs().max().detach())
