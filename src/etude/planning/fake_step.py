"""Simulates a step on fake tensors: the run's own loss, backward pass and optimizer."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from etude.objective.batches import n_tokens
from etude.objective.loader import MicroBatch
from etude.objective.objective import Objective
from etude.planning.fake_rollout import FakePolicy, generation
from etude.planning.fake_tensors import tensors
from etude.planning.memory_meter import MemoryMeter
from etude.rl.on_policy import OnPolicyObjective
from etude.training.assemble import TrainingParts
from etude.training.flops import counter

N_BATCHES = 8
"""Number of global batches whose sizes are examined: conversations and pairs differ in length."""


@dataclass(frozen=True)
class StepCost:
    """Memory of one device in bytes, and the cost of its largest micro-batch."""

    weights: int
    """All networks and buffers, including frozen ones; tied weights count once."""
    gradients: int
    optimizer: int
    activations: int
    """Tensors that the forward pass saves for the backward pass."""
    rollout: int
    """Peak memory in addition to the weights while completions are generated and evaluated."""
    cache: int
    """KV cache of one row of maximum length."""
    peak: int
    """Peak memory of the step."""
    flops_per_token: float
    """FLOPs of forward and backward pass per token; includes the cost of padding."""
    tokens_per_step: float
    """Tokens per step on one device, excluding padding."""


def simulate_steps(parts: TrainingParts, seq_len: int, *, generates: bool) -> StepCost:
    """Simulates two steps; before the first there are no gradients and optimizer moments.

    `generates` is whether the network can generate, and therefore has a KV cache.
    """
    objective = parts.objective
    held = tensors(objective)
    on_policy = objective if isinstance(objective, OnPolicyObjective) else None
    if on_policy is not None:
        FakePolicy(on_policy).patch()
    with MemoryMeter(held) as meter:
        weights = meter.live
        batches = _global_batches(parts, N_BATCHES if on_policy is None else 1)
        rollout = 0 if on_policy is None else meter.peak - weights
        if on_policy is not None:
            on_policy.is_fresh = False  # fake log-ratios cannot be checked
        cache = _cache_bytes(objective, seq_len, meter) if generates else 0
        optimizer, _ = objective.tools.optimizer(objective)
        largest = max((part for batch in batches for part in batch), key=_size)
        flops = activations = 0
        for _ in range(2):
            activations, flops = _step(objective, optimizer, largest, meter)
    gradients = [tensor.grad for tensor in held if tensor.grad is not None]
    return StepCost(
        weights=weights,
        gradients=sum(gradient.untyped_storage().nbytes() for gradient in gradients),
        optimizer=state_bytes(optimizer.state_dict()),
        activations=activations,
        rollout=rollout,
        cache=cache,
        peak=meter.peak,
        flops_per_token=flops / max(1, n_tokens(largest.batch)),
        tokens_per_step=sum(n_tokens(p.batch) for parts in batches for p in parts) / len(batches),
    )


def _global_batches(assembled: TrainingParts, n: int) -> list[list[MicroBatch[Any]]]:
    """Returns the first global batches of training, split into their micro-batches."""
    parts = iter(assembled.loader)
    first = next(parts)
    rest = list(islice(parts, n * first.of - 1))
    micro_batches = [first, *rest]
    return [micro_batches[i : i + first.of] for i in range(0, len(micro_batches), first.of)]


def _size(part: MicroBatch[Any]) -> int:
    return elements(part.batch)


def elements(batch: Any) -> int:  # any dataclass of tensors
    """Returns the number of tensor elements in a batch, including padding."""
    if isinstance(batch, Tensor):
        return batch.numel()
    if not is_dataclass(batch):
        return 0
    return sum(elements(getattr(batch, item.name)) for item in fields(batch))


def _step(
    objective: Objective[Any, Any], optimizer: Optimizer, part: MicroBatch[Any], meter: MemoryMeter
) -> tuple[int, int]:
    """Runs a step, with at most two micro-batches; returns activations and FLOPs of one of them."""
    activations = flops = 0
    for index in range(min(2, part.of)):
        before = meter.live
        with counter() as counted:
            with objective.trainer.precision_plugin.forward_context():
                total = objective.loss(part.batch).total
            activations = meter.live - before
            if index == 0:
                optimizer.zero_grad()
            total.backward()
            flops = counted.get_total_flops()
        del total
    optimizer.step()
    return activations, flops


def _cache_bytes(objective: Objective[Any, Any], seq_len: int, meter: MemoryMeter) -> int:
    before = meter.live
    with torch.no_grad(), objective.trainer.precision_plugin.forward_context():
        cache = generation(objective, [[objective.network.vocab.eos] * (seq_len - 1)], 1)
        found = meter.live - before
    del cache
    return found


def state_bytes(state: Mapping[str, Any]) -> int:
    """Returns the bytes of the tensors in an optimizer's state, including step counters."""
    held = [item for entry in state["state"].values() for item in entry.values()]
    return sum(item.nbytes for item in held if isinstance(item, Tensor))
