"""The minimum precision of losses and log-probabilities."""

import torch
from jaxtyping import Float
from torch import Tensor


def to_fp32(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Returns x in at least fp32: losses and log-probabilities are never computed in less."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
