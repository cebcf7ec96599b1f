"""Blocks of parts so simple that what they do can be written out."""

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
    """A block whose norm adds 1, whose mixer triples, whose cross halves, whose MLP squares."""
    square = nn.Sequential(Squared())
    parts = BlockParts(Shift, Scale(3.0), square, dropout, Scale(0.5) if cross else None, layer)
    return build(tiny.part("architecture/block", name, **values), parts)


class Squared(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x


def context(*, cross: bool) -> Context:
    places = torch.arange(2)[None]
    plain = Context(Position(), places, places, causal=True)
    if cross:
        plain.source = Context(
            Position(), torch.arange(2)[None], torch.arange(2)[None], causal=False
        )
    return plain
