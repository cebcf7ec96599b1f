"""Initializes weights uniformly in (-bound, bound), and biases to 0.

(Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass

from torch import nn

from etude import plugin, require
from etude.config import InitConfig
from etude.network import draw_normal


@dataclass
class SketchConfig(InitConfig):
    bound: float = 0.035
    """Maximum absolute value of the initial weights."""

    def __post_init__(self) -> None:
        require(self.bound > 0, f"bound must be positive, got {self.bound}")


@plugin(SketchConfig)
def sketch(config: SketchConfig, network: nn.Module, n_layers: int) -> None:
    """Initializes linear and embedding weights from U(-bound, bound)."""
    draw_normal(network, lambda module: 1.0)  # also sets every bias to 0
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.uniform_(module.weight, -config.bound, config.bound)
