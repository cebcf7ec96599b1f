"""Looped stack: the layers run several times, so that depth grows and parameters do not.

Dehghani et al. 2018 (Universal Transformer), https://arxiv.org/abs/1807.03819, without its time
embeddings and adaptive halting; Saunshi et al. 2025, https://arxiv.org/abs/2502.17416, section 2:
k layers looped L times. With n_layers=4 and n_loops=3, a step costs as much as with 12 layers.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from etude import plugin, require
from etude.config import StreamConfig
from etude.network import Inputs, Layers, Stream, StreamParts


@dataclass
class LoopedConfig(StreamConfig):
    n_loops: int = 2
    """How often the stack of layers runs. Typical: 2-12."""

    def __post_init__(self) -> None:
        require(self.n_loops >= 1, f"n_loops must be at least 1, got {self.n_loops}")

    def n_executed(self, n_layers: int) -> int:
        return self.n_loops * n_layers


@plugin(LoopedConfig)
class Looped(Stream):
    """x -> all layers -> all layers again -> ..."""

    def __init__(self, config: LoopedConfig, parts: StreamParts) -> None:
        super().__init__()
        self.n_loops = config.n_loops

    def forward(
        self, x: Float[Tensor, "batch seq dim"], inputs: Inputs, layers: Layers
    ) -> Float[Tensor, "batch seq dim"]:
        for execution in range(self.n_loops * len(layers)):
            x = layers.run(execution % len(layers), x, execution=execution)
        return x
