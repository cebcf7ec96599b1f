"""Laws of optimizers and schedules: the configured learning rates, and no other changes."""

import copy
import math
from collections.abc import Callable

import torch
from torch import nn

from etude.config.registry import build
from etude.laws import architecture
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, holds
from etude.network.network import Network
from etude.training.optim import ParameterKind, optimizer_parameters

LENGTHS = (1, 2, 10, 100, 1000)


def factors_are_finite_and_not_negative(trial: Trial) -> Finding:
    """The factor is finite and not negative at every step of every length, and after the last."""
    least = math.inf
    most = -math.inf
    for total in LENGTHS:
        factor = _schedule(trial, total)
        found = [factor(step) for step in range(2 * total + 1)]
        if not all(math.isfinite(value) and value >= 0 for value in found):
            step = next(i for i, v in enumerate(found) if not (math.isfinite(v) and v >= 0))
            return broken(f"step {step} of {total} has the factor {found[step]:g}")
        least = min(least, *found[:-1])
        most = max(most, *found)
    return held(f"{least:.4g} to {most:.4g}")


def factors_depend_only_on_the_step(trial: Trial) -> Finding:
    """A step has the same factor in any order of calls, so a run can resume at any step."""
    factor = _schedule(trial, 100)
    forwards = [factor(step) for step in range(101)]
    backwards = [factor(step) for step in reversed(range(101))][::-1]
    same = forwards == backwards == [_schedule(trial, 100)(step) for step in range(101)]
    return holds(same, "forwards, backwards and built again")


def the_peak_is_the_configured_rate(trial: Trial) -> Finding:
    """The learning rate is not always 0, and its peak is the configured one."""
    found = [_schedule(trial, 100)(step) for step in range(100)]
    return holds(0 < max(found) <= 1 + 1e-9, f"the largest factor is {max(found):.4g}")


def every_parameter_is_in_one_group(trial: Trial) -> Finding:
    """Each is in one group with the configured learning rate; only matrices have weight decay."""
    network = _network(trial)
    optimizer = _optimizer(trial, network)
    group_of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    n = sum(len(group["params"]) for group in optimizer.param_groups)
    parameters = optimizer_parameters(network)
    if n != len(group_of) or group_of.keys() != {id(p.tensor) for p in parameters}:
        return broken(f"{n} entries for {len(group_of)} of {len(parameters)} parameters")
    rates = {group["lr"] for group in optimizer.param_groups}
    no_decay = (ParameterKind.EMBEDDING, ParameterKind.VECTOR)
    wrong = [p.name for p in parameters if p.kind in no_decay and _decay(group_of[id(p.tensor)])]
    if wrong:
        return broken(f"{', '.join(wrong[:3])} have weight decay but are not matrices")
    return holds(rates == {trial.config.optimizer.lr}, f"lr {', '.join(f'{r:g}' for r in rates)}")


def every_weight_with_a_gradient_moves(trial: Trial) -> Finding:
    """A step moves every weight with a learning rate, and none of them up its gradient."""
    network = _network(trial)
    optimizer = _optimizer(trial, network)
    moving = {id(p) for group in optimizer.param_groups if group["lr"] for p in group["params"]}
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    _step(network, optimizer, seed=1)
    n = 0
    for name, parameter in network.named_parameters():
        if id(parameter) in moving and parameter.grad is not None:
            n += 1
            slope = float(((parameter.detach() - before[name]) * parameter.grad).sum())
            if not slope < 0:
                return broken(f"{name} {'moves up its gradient' if slope else 'does not move'}")
    return held(f"{n} tensors")


def no_update_without_a_gradient(trial: Trial) -> Finding:
    """Without gradients, a step does not change the weights."""
    network = _network(trial)
    optimizer = _optimizer(trial, network)
    _step(network, optimizer, seed=1)
    before = [p.detach().clone() for p in network.parameters()]
    optimizer.zero_grad()
    optimizer.step()
    moved = sum(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    return holds(moved == 0, f"{moved} of {len(before)} tensors changed")


def its_state_can_be_restored(trial: Trial) -> Finding:
    """A new optimizer with the restored state takes a bit-identical next step."""
    one = _network(trial)
    two = _network(trial)
    first = _optimizer(trial, one)
    for seed in (1, 2):
        _step(one, first, seed)
    two.load_state_dict(one.state_dict())
    second = _optimizer(trial, two)
    second.load_state_dict(copy.deepcopy(first.state_dict()))  # torch shares what it loads
    for network, optimizer in ((one, first), (two, second)):
        _step(network, optimizer, seed=3)
    pairs = list(zip(one.parameters(), two.parameters(), strict=True))
    n_differ = sum(not torch.equal(a, b) for a, b in pairs)
    return holds(n_differ == 0, f"{n_differ} of {len(pairs)} tensors differ after the next step")


def _schedule(trial: Trial, total: int) -> Callable[[int], float]:
    return build(trial.tested, total)


def _optimizer(trial: Trial, network: nn.Module) -> torch.optim.Optimizer:
    return build(trial.tested, optimizer_parameters(network))


def _network(trial: Trial) -> Network:
    with torch.no_grad():
        return architecture.random_network(trial.config.architecture)


def _step(network: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        parameter.grad = noise
    optimizer.step()


def _decay(group: dict[str, float]) -> float:
    return group.get("weight_decay", 0.0)
