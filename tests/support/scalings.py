"""RoPE frequencies after scaling, ours and those of transformers."""

import math
from typing import Any

import tiny
import torch
from torch import Tensor
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from etude.config.registry import build

SHAPES = [(4, 1e4), (8, 5e5), (10, 100.0), (64, 1e4), (128, 1e6)]
"""Head widths and bases."""


def scaling(name: str, **values: Any) -> Any:  # the plugin's own class
    """One of our scalings."""
    return build(tiny.part("architecture/position/scaling", name, **values))


def theirs(kind: str, head_dim: int, theta: float, **parameters: Any) -> tuple[Tensor, float]:
    """The frequencies and the attention factor of transformers for a `rope_type`."""
    seq_len = parameters.pop("seq_len", None)
    config = LlamaConfig(
        hidden_size=2 * head_dim,
        num_attention_heads=2,
        max_position_embeddings=64,
        rope_parameters={"rope_type": kind, "rope_theta": theta, **parameters},
    )
    frequencies, factor = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"), seq_len)
    return frequencies, factor


def assert_same(made: Any, theta: float, expected: tuple[Tensor, float]) -> None:
    """Frequencies agree up to fp32 rounding, and attention factors to 1e-12."""
    found = made.frequencies(theta, 2 * len(expected[0])).float()
    torch.testing.assert_close(found, expected[0], rtol=2e-6, atol=1e-6 * float(expected[0].min()))
    assert math.isclose(made.attention_factor, expected[1], rel_tol=1e-12)
