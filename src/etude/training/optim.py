"""The groups `optimizer` and `schedule`: parameter kinds and groups, and learning-rate warm-up."""

import fnmatch
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from textwrap import fill, indent
from typing import Any

from torch import nn

from etude.config.registry import build, plugin_of
from etude.config.schema.parameter_group import ParameterGroup
from etude.config.schema.plugins import ObjectiveConfig, OptimizerConfig, ScheduleConfig
from etude.errors import ConfigError
from etude.network.network import Network
from etude.network.parts import Block

N_PEAK = 10_000
"""Maximum number of steps at which a schedule is evaluated to find its peak."""
LOWEST_PEAK = 0.9
"""Smallest largest factor of a schedule: a peak may be between two steps of a short run."""


class ParameterKind(Enum):
    """Kind of a parameter, which decides its weight decay and its optimizer."""

    MATRIX = "weight of a linear layer inside a block"
    HEAD = "weight of a linear layer outside the blocks, such as a head"
    EMBEDDING = "embedding table of tokens or positions"
    VECTOR = "bias, or scale or shift of a norm"


@dataclass(frozen=True)
class OptimizerParameter:
    """A trainable tensor as the group `optimizer` sees it."""

    name: str
    tensor: nn.Parameter
    kind: ParameterKind
    lr_factor: float = 1.0
    """Factor of its learning rate, which leaves its weight decay as it is."""


def decay_groups(
    config: OptimizerConfig, parameters: Sequence[OptimizerParameter]
) -> list[dict[str, Any]]:
    """Returns torch.optim parameter groups, each with its peak learning rate and weight decay.

    Weights of linear maps decay; biases, norms and embeddings do not. The groups of `config.groups`
    come last; before them, those with the largest `lr_factor` come first. Raises ConfigError for an
    entry of `config.groups` that matches no parameter.
    """
    entries = [*config.groups, ParameterGroup("*")]
    tensors_of: dict[tuple[int, float, bool], list[nn.Parameter]] = {}
    for one in parameters:
        first = next(i for i, e in enumerate(entries) if fnmatch.fnmatchcase(one.name, e.pattern))
        no_decay = one.kind in (ParameterKind.EMBEDDING, ParameterKind.VECTOR)
        tensors_of.setdefault((-first, -one.lr_factor, no_decay), []).append(one.tensor)
    for index, entry in enumerate(config.groups):
        if -index not in {first for first, _, _ in tensors_of}:
            raise _unmatched_pattern(index, entry.pattern, [one.name for one in parameters])
    groups: list[dict[str, Any]] = []
    for (index, factor, no_decay), tensors in sorted(tensors_of.items(), key=lambda item: item[0]):
        entry = entries[-index]
        decay = entry.weight_decay
        if decay is None:
            decay = 0.0 if no_decay else config.weight_decay
        lr = config.lr * entry.lr * -factor
        groups.append({"params": tensors, "lr": lr, "weight_decay": decay / -factor})
    return groups


def _unmatched_pattern(index: int, pattern: str, names: Sequence[str]) -> ConfigError:
    hint = " that no earlier entry matches" if fnmatch.filter(names, pattern) else ""
    known = list(dict.fromkeys(re.sub(r"\.\d+\.", ".*.", name) for name in names))
    parts = dict.fromkeys(part for name in known for part in name.split("."))
    near = get_close_matches(pattern.strip("*."), [*known, *parts], n=1)
    have = fill(f"The parameters are {', '.join(known)}.", 94, break_on_hyphens=False)
    return ConfigError(
        f"optimizer.groups[{index}]: {pattern} matches no parameter{hint}."
        + (f"\n  Did you mean {near[0]}?" if near and not hint else "")
        + f"\n{indent(have, '  ')}"
    )


def warmup_length(warmup_steps: int | None, total_steps: int) -> int:
    """Returns the number of warmup steps; null means min(100, 10 % of all steps)."""
    return min(100, total_steps // 10) if warmup_steps is None else warmup_steps


def with_warmup(
    warmup_steps: int | None, total_steps: int, decay: Callable[[float], float]
) -> Callable[[int], float]:
    """Returns step -> learning-rate factor: linear warmup, then `decay` of the progress, 0 to 1.

    Step 0 has the first nonzero factor of the warmup.
    """
    n_warmup = warmup_length(warmup_steps, total_steps)

    def factor(step: int) -> float:
        if step < n_warmup:
            return (step + 1) / n_warmup
        return decay(min(1.0, (step - n_warmup) / max(1, total_steps - n_warmup)))

    return factor


def refuse_unreached_peak(config: ScheduleConfig, lr: float, total_steps: int) -> None:
    """Raises ConfigError if the learning rate does not reach its peak in a run of this length."""
    n_warmup = warmup_length(config.warmup_steps, total_steps)
    grid = {*range(0, total_steps, 1 + total_steps // N_PEAK), min(n_warmup, total_steps - 1)}
    peak = max(map(build(config, total_steps), grid))
    if n_warmup > total_steps or peak < LOWEST_PEAK:
        asked = f"{plugin_of(config).address} with schedule.warmup_steps={config.warmup_steps}"
        raise ConfigError(
            f"{asked}: in this run of {total_steps:,} steps, the learning rate reaches "
            f"{lr * peak:.3g}, {peak:.0%} of optimizer.lr={lr:g}.\n"
            f"  Choose schedule.warmup_steps=null (here {warmup_length(None, total_steps)}) or at "
            f"most {total_steps:,}, or a longer run, such as trainer.max_steps={10 * n_warmup}."
        )


def refuse_idle(config: ObjectiveConfig, total_steps: int) -> None:
    """Raises ConfigError if no step of a run of this length would train the network."""
    for knob, steps in config.idle.items():
        if steps >= total_steps:
            raise ConfigError(
                f"objective.{knob}={steps}: the network would never be trained in this run of "
                f"{total_steps:,} steps.\n  Choose less, or a longer run."
            )


def optimizer_parameters(module: nn.Module) -> list[OptimizerParameter]:
    """Returns each trainable parameter once, with its kind; drops an objective's network prefix."""
    modules = list(module.modules())
    tables = {id(m.weight) for m in modules if isinstance(m, nn.Embedding)}
    inside = {id(p) for m in modules if isinstance(m, Block) for p in m.parameters()}
    factors = {
        f"{path}.{name}".removeprefix("."): factor
        for path, network in module.named_modules()
        if isinstance(network, Network)
        for name, factor in network.lr_factors.items()
    }

    def kind(tensor: nn.Parameter) -> ParameterKind:
        if id(tensor) in tables:
            return ParameterKind.EMBEDDING
        if tensor.ndim < 2:
            return ParameterKind.VECTOR
        return ParameterKind.MATRIX if id(tensor) in inside else ParameterKind.HEAD

    return [
        OptimizerParameter(
            name.removeprefix("network."), tensor, kind(tensor), factors.get(name, 1.0)
        )
        for name, tensor in module.named_parameters()
        if tensor.requires_grad
    ]
