"""Noisy embeddings: NEFTune, Jain et al. 2023, https://arxiv.org/abs/2310.05914."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def neftune(
    states: Float[Tensor, "batch seq dim"], ids: Int[Tensor, "batch seq"], alpha: float, pad: int
) -> Float[Tensor, "batch seq dim"]:
    """Adds uniform noise in [-1, 1], scaled by alpha / sqrt(row length * dim)."""
    lengths = (ids != pad).sum(dim=1).clamp(min=1)[:, None, None]
    noise = 2 * torch.rand_like(states) - 1
    return states + alpha / (lengths * states.shape[-1]).sqrt() * noise


def neftune_hook(
    table: nn.Module, arguments: tuple[Tensor], states: Tensor, alpha: float, pad: int
) -> Tensor | None:
    """Forward hook of the embedding table; it has no effect outside training."""
    return neftune(states, arguments[0], alpha, pad) if table.training else None
