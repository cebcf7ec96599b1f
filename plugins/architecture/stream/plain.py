"""Runs every layer once, in order, on one residual stream.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.1.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from etude import plugin
from etude.config import StreamConfig
from etude.network import Inputs, Layers, Stream, StreamParts


@dataclass
class PlainConfig(StreamConfig):
    """No knobs."""


@plugin(PlainConfig)
class Plain(Stream):
    """x -> layer 0 -> layer 1 -> ..."""

    def __init__(self, config: PlainConfig, parts: StreamParts) -> None:
        super().__init__()

    def forward(
        self, x: Float[Tensor, "batch seq dim"], inputs: Inputs, layers: Layers
    ) -> Float[Tensor, "batch seq dim"]:
        for layer in range(len(layers)):
            x = layers.run(layer, x)
        return x
