"""First weights that are drawn evenly from an interval, biases 0.

(Name your own source here, and what you do otherwise.)
"""

from dataclasses import dataclass

from torch import nn

from etude import plugin, require
from etude.config import InitConfig
from etude.network import draw_normal


@dataclass
class SketchConfig(InitConfig):
    bound: float = 0.035
    """Largest first weight of a matrix or a table; the smallest is its negative."""

    def __post_init__(self) -> None:
        require(self.bound > 0, f"bound must be positive, got {self.bound}")


@plugin(SketchConfig)
def sketch(config: SketchConfig, network: nn.Module, n_layers: int) -> None:
    """Fills matrices and tables from U(-bound, bound)."""
    draw_normal(network, lambda module: 1.0)  # also makes every bias 0
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.uniform_(module.weight, -config.bound, config.bound)
