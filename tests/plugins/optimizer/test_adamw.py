import tiny
import torch
from optimizers import assert_bit_equal, by_hand


def test_equals_torch_with_decay_of_matrices_only() -> None:
    config = tiny.part(
        "optimizer", "adamw", lr=0.01, beta1=0.8, beta2=0.9, eps=1e-6, weight_decay=0.3
    )
    assert_bit_equal(
        config,
        lambda module: torch.optim.AdamW(
            by_hand(module, 0.3), lr=0.01, betas=(0.8, 0.9), eps=1e-6, fused=True
        ),
    )
