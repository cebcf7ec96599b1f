"""A step rehearsed by shapes alone: the run's own loss, its gradient and its optimizer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import (
    FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from etude.objective import Objective
from etude.planning.ledger import Ledger
from etude.planning.shapes import tensors

Kernel = Any  # an operator and its outputs; torch's types of both are private


@dataclass(frozen=True)
class Rehearsal:
    """What one micro-batch of a run holds and costs, in bytes and FLOPs."""

    weights: int
    """All networks and buffers, frozen ones included."""
    gradients: int
    optimizer: int
    activations: int
    """What the forward pass leaves for the backward pass."""
    peak: int
    """The most that is alive at once."""
    flops: int
    """Of the loss and its gradient."""


def rehearse(objective: Objective[Any, Any], batch: Any, n_parts: int) -> Rehearsal:
    """Rehearses two steps, the first without gradients and moments from before."""
    held = tensors(objective)
    learned = [tensor for tensor in held if tensor.requires_grad]
    optimizer, _ = objective.tools.optimizer(objective)
    context = objective.trainer.precision_plugin.forward_context
    flops = activations = 0
    with Ledger(held) as ledger:
        weights = ledger.live
        for _ in range(2):
            for part in range(min(2, n_parts)):
                before = ledger.live
                with context(), counter() as counted:
                    total = objective.loss(batch).total
                    activations = ledger.live - before
                    if part == 0:
                        optimizer.zero_grad()
                    total.backward()
                    del total
                flops = counted.get_total_flops()
            optimizer.step()
    return Rehearsal(
        weights=weights,
        gradients=sum(t.grad.untyped_storage().nbytes() for t in learned if t.grad is not None),
        optimizer=state_bytes(optimizer.state_dict()),
        activations=activations,
        peak=ledger.peak,
        flops=flops,
    )


def state_bytes(state: Mapping[str, Any]) -> int:
    """Bytes of the tensors in an optimizer's state, numbers of steps included."""
    held = [item for entry in state["state"].values() for item in entry.values()]
    return sum(item.nbytes for item in held if isinstance(item, Tensor))


def counter() -> FlopCounterMode:
    """Torch's counter, which is also told of the attention kernels of a CPU."""
    aten = torch.ops.aten

    def forward(q: Any, k: Any, v: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
        return sdpa_flop_count(q, k, v)

    def backward(
        gradient: Any, q: Any, k: Any, v: Any, *_: Any, out_shape: Any = None, **__: Any
    ) -> int:
        return sdpa_backward_flop_count(gradient, q, k, v)

    return FlopCounterMode(
        display=False,
        custom_mapping={
            aten._scaled_dot_product_flash_attention_for_cpu: forward,
            aten._scaled_dot_product_flash_attention_for_cpu_backward: backward,
        },
    )
