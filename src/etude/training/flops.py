"""FLOPs as torch counts them, attention on a CPU included."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count


def counter() -> FlopCounterMode:
    """Torch's counter, which knows no attention kernel of a CPU, and is told of them."""
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
