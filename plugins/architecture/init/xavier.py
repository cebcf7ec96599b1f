"""Xavier uniform initialisation, which preserves variance in the forward and backward pass.

Glorot & Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html, equation 16; used by the
reference implementations of the 2017 transformer. Embedding tables are drawn from N(0, 1 / width):
scaled by sqrt(width), they have the magnitude of the sinusoidal positions added to them.
"""

import math
from dataclasses import dataclass

from torch import nn

from etude import plugin, require
from etude.config import InitConfig
from etude.network import draw_normal


@dataclass
class XavierConfig(InitConfig):
    gain: float = 1.0
    """Factor of the bound b of every matrix."""

    def __post_init__(self) -> None:
        require(self.gain > 0, f"gain must be positive, got {self.gain}")


@plugin(XavierConfig)
def xavier(config: XavierConfig, network: nn.Module, n_layers: int) -> None:
    """Matrices from U(-b, b), b = gain sqrt(6 / (n_in + n_out)); tables from N(0, 1 / width)."""
    draw_normal(network, lambda module: 1 / math.sqrt(module.weight.shape[-1]))
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight, config.gain)
