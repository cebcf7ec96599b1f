"""How the states of a text become its vector.

Reimers & Gurevych 2019 (Sentence-BERT), https://arxiv.org/abs/1908.10084, section 3.
"""

from enum import Enum

import torch
from jaxtyping import Float
from torch import Tensor

from etude.network import Inputs


class Pooling(Enum):
    """Which states of a text are averaged: all, the first, or the last."""

    mean = "mean"
    cls = "cls"
    last = "last"


def pooled(
    states: Float[Tensor, "batch seq dim"], inputs: Inputs, pooling: Pooling
) -> Float[Tensor, "batch dim"]:
    """The vector of each row; padding, on either side, is left out."""
    real = torch.ones_like(inputs.tokens) if inputs.documents is None else inputs.documents > 0
    place = real.cumsum(1) * real  # from 1; 0 where padded
    if pooling is Pooling.mean:
        chosen = place > 0
    else:
        wanted = 1 if pooling is Pooling.cls else place.amax(1, keepdim=True)
        chosen = place == wanted
    weight = chosen.to(states.dtype)
    return torch.einsum("bsd,bs->bd", states, weight) / weight.sum(1, keepdim=True)
