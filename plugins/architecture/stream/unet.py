"""U-net: layers of the second half also read what the first half wrote, mirrored.

Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597; in a language model with learned scalar
weights that start at 1: Jordan et al. 2024 (modded-nanogpt), https://github.com/KellerJordan/
modded-nanogpt, record 11: before layer n - 1 - i, the output of layer i is added.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin, require
from etude.config import StreamConfig
from etude.network import Inputs, Layers, Stream, StreamParts


@dataclass
class UnetConfig(StreamConfig):
    """No knobs."""


@plugin(UnetConfig)
class Unet(Stream):
    """x -> x + weight * (output of the mirrored layer), before each layer of the second half."""

    def __init__(self, config: UnetConfig, parts: StreamParts) -> None:
        super().__init__()
        n_skips = parts.n_layers // 2
        require(n_skips > 0, f"stream=unet needs n_layers of at least 2, got {parts.n_layers}")
        self.skip_weights = nn.Parameter(torch.ones(n_skips))

    def forward(
        self, x: Float[Tensor, "batch seq dim"], inputs: Inputs, layers: Layers
    ) -> Float[Tensor, "batch seq dim"]:
        n_skips = len(self.skip_weights)
        outputs: list[Tensor] = []
        for layer in range(len(layers)):
            mirrored = len(layers) - 1 - layer
            if mirrored < n_skips:
                x = x + self.skip_weights[mirrored] * outputs[mirrored]
            x = layers.run(layer, x)
            outputs.append(x)
        return x
