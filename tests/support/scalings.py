"""Scaled frequencies, ours and those of transformers."""

import math
from typing import Any

import tiny
import torch
from torch import Tensor
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from etude.config.registry import build

SHAPES = [(4, 1e4), (8, 5e5), (10, 100.0), (64, 1e4), (128, 1e6)]
"""Widths of a head and bases."""


def scaling(name: str, **values: Any) -> Any:  # the plugin's own class
    """A scaling of ours."""
    return build(tiny.part("architecture/position/scaling", name, **values))


def theirs(kind: str, head_dim: int, theta: float, **given: Any) -> tuple[Tensor, float]:
    """The frequencies and the factor that transformers has for a `rope_type`."""
    seq_len = given.pop("seq_len", None)
    config = LlamaConfig(
        hidden_size=2 * head_dim,
        num_attention_heads=2,
        max_position_embeddings=64,
        rope_parameters={"rope_type": kind, "rope_theta": theta, **given},
    )
    found, factor = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"), seq_len)
    return found, factor


def assert_same(made: Any, theta: float, wanted: tuple[Tensor, float]) -> None:
    """Frequencies agree to what fp32 rounds, and so does the factor of attention."""
    found = made.frequencies(theta, 2 * len(wanted[0])).float()
    torch.testing.assert_close(found, wanted[0], rtol=2e-6, atol=1e-6 * float(wanted[0].min()))
    assert math.isclose(made.attention_factor, wanted[1], rel_tol=1e-12)
