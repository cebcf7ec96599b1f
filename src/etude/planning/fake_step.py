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
from etude.planning.fake_rollout import RolloutPolicy, generation
from etude.planning.fake_tensors import tensors
from etude.planning.memory_meter import Ledger
from etude.rl.on_policy import OnPolicyObjective
from etude.training.assemble import TrainingParts
from etude.training.flops import counter

N_WINDOWS = 8
"""Number of global batches whose sizes are examined: conversations and pairs differ in length."""


@dataclass(frozen=True)
class Rehearsal:
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
    flops_a_token: float
    """FLOPs of forward and backward pass per token; includes the cost of padding."""
    tokens_a_step: float
    """Tokens per step on one device, excluding padding."""


def rehearse(made: TrainingParts, seq_len: int, *, writes: bool) -> Rehearsal:
    """Simulates two steps; before the first there are no gradients and optimizer moments.

    `writes` is whether the network can generate, and therefore has a KV cache.
    """
    objective = made.objective
    held = tensors(objective)
    writer = objective if isinstance(objective, OnPolicyObjective) else None
    if writer is not None:
        RolloutPolicy(writer).take_over()
    with Ledger(held) as ledger:
        weights = ledger.live
        windows = _windows(made, N_WINDOWS if writer is None else 1)
        rollout = 0 if writer is None else ledger.peak - weights
        if writer is not None:
            writer.is_fresh = False  # fake log-ratios cannot be checked
        cache = _cache_bytes(objective, seq_len, ledger) if writes else 0
        optimizer, _ = objective.tools.optimizer(objective)
        largest = max((part for window in windows for part in window), key=_size)
        flops = activations = 0
        for _ in range(2):
            activations, flops = _step(objective, optimizer, largest, ledger)
    found = [tensor.grad for tensor in held if tensor.grad is not None]
    return Rehearsal(
        weights=weights,
        gradients=sum(gradient.untyped_storage().nbytes() for gradient in found),
        optimizer=state_bytes(optimizer.state_dict()),
        activations=activations,
        rollout=rollout,
        cache=cache,
        peak=ledger.peak,
        flops_a_token=flops / max(1, n_tokens(largest.batch)),
        tokens_a_step=sum(n_tokens(p.batch) for w in windows for p in w) / len(windows),
    )


def _windows(made: TrainingParts, n: int) -> list[list[MicroBatch[Any]]]:
    """Returns the first global batches of training, split into their micro-batches."""
    parts = iter(made.loader)
    first = next(parts)
    rest = list(islice(parts, n * first.of - 1))
    together = [first, *rest]
    return [together[i : i + first.of] for i in range(0, len(together), first.of)]


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
    objective: Objective[Any, Any], optimizer: Optimizer, part: MicroBatch[Any], ledger: Ledger
) -> tuple[int, int]:
    """Runs a step, with at most two micro-batches; returns activations and FLOPs of one of them."""
    activations = flops = 0
    for index in range(min(2, part.of)):
        before = ledger.live
        with counter() as counted:
            with objective.trainer.precision_plugin.forward_context():
                total = objective.loss(part.batch).total
            activations = ledger.live - before
            if index == 0:
                optimizer.zero_grad()
            total.backward()
            flops = counted.get_total_flops()
        del total
    optimizer.step()
    return activations, flops


def _cache_bytes(objective: Objective[Any, Any], seq_len: int, ledger: Ledger) -> int:
    before = ledger.live
    with torch.no_grad(), objective.trainer.precision_plugin.forward_context():
        cache = generation(objective, [[objective.network.vocab.bos] * (seq_len - 1)], 1)
        found = ledger.live - before
    del cache
    return found


def state_bytes(state: Mapping[str, Any]) -> int:
    """Returns the bytes of the tensors in an optimizer's state, including step counters."""
    held = [item for entry in state["state"].values() for item in entry.values()]
    return sum(item.nbytes for item in held if isinstance(item, Tensor))
