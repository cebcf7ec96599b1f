"""Blocks of trivial parts, whose output can be computed by hand."""

from typing import Any

import tiny
import torch
from torch import Tensor, nn

from etude.config.registry import build
from etude.network.context import Context, Position
from etude.network.parts import Block, BlockParts, Mixer


class Scale(Mixer):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return x * self.factor


class Shift(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1


def block(name: str, *, cross: bool, dropout: float = 0.0, layer: int = 0, **values: Any) -> Block:
    """A block: norm adds 1, mixer multiplies by 3, cross-attention halves, MLP squares."""
    square = nn.Sequential(Squared())
    parts = BlockParts(Shift, Scale(3.0), square, dropout, Scale(0.5) if cross else None, layer)
    return build(tiny.part("architecture/block", name, **values), parts)


class Squared(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x


def context(*, cross: bool) -> Context:
    positions = torch.arange(2)[None]
    result = Context(Position(), positions, positions, causal=True)
    if cross:
        result.source = Context(
            Position(), torch.arange(2)[None], torch.arange(2)[None], causal=False
        )
    return result
