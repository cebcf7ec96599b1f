"""Adds the embedded tokens, times a learned weight, to the residual stream before each layer.

Jordan et al. 2024 (modded-nanogpt), https://github.com/KellerJordan/modded-nanogpt.
(Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin
from etude.config import StreamConfig
from etude.network import Inputs, Layers, Stream, StreamParts


@dataclass
class SketchConfig(StreamConfig):
    start: float = 0.0
    """Initial weight of the embedded tokens; 0 starts as stream=plain."""


@plugin(SketchConfig)
class Sketch(Stream):
    """x -> layer(x + weight * embedded tokens), with a weight for each layer."""

    def __init__(self, config: SketchConfig, parts: StreamParts) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.full((parts.n_layers,), config.start))

    def forward(
        self, x: Float[Tensor, "batch seq dim"], inputs: Inputs, layers: Layers
    ) -> Float[Tensor, "batch seq dim"]:
        embedded = x
        for layer in range(len(layers)):
            x = layers.run(layer, x + self.weights[layer] * embedded)
        return x
