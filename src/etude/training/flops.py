"""FLOPs as torch counts them, including attention on CPU."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count


def counter() -> FlopCounterMode:
    """Returns torch's counter with formulas for the CPU attention kernels, which it lacks."""
    aten = torch.ops.aten

    def forward(q: Sequence[int], k: Sequence[int], v: Sequence[int], *_: Any, **__: Any) -> int:
        return sdpa_flop_count(q, k, v)

    def backward(
        gradient: Sequence[int],
        q: Sequence[int],
        k: Sequence[int],
        v: Sequence[int],
        *_: Any,
        **__: Any,
    ) -> int:
        return sdpa_backward_flop_count(gradient, q, k, v)

    return FlopCounterMode(
        display=False,
        custom_mapping={
            aten._scaled_dot_product_flash_attention_for_cpu: forward,
            aten._scaled_dot_product_flash_attention_for_cpu_backward: backward,
        },
    )
