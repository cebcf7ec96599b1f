"""Adds a trainable vector to the output of every MLP of a frozen network.

Ben Zaken et al. 2021 (BitFit), https://arxiv.org/abs/2106.10199, with new vectors instead of the
existing biases. They are initialized to 0, so training starts from exactly the base network.
(Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin, require
from etude.config import AdapterConfig
from etude.network import AdapterLayer, Network, insert


@dataclass
class SketchConfig(AdapterConfig):
    outputs: list[str] = field(default_factory=lambda: ["*.mlp"])
    """Name patterns of the modules whose outputs get a vector."""

    def __post_init__(self) -> None:
        require(bool(self.outputs), "outputs must not be empty")


@plugin(SketchConfig)
def sketch(config: SketchConfig, network: Network) -> Network:
    """Adds a vector to the output of every module that matches a pattern."""
    return insert(
        network, config.outputs, lambda module: True, lambda base: Sketch(base, network.dim)
    )


class Sketch(AdapterLayer):
    """base(x) + shift."""

    def __init__(self, base: nn.Module, dim: int) -> None:
        super().__init__(base)
        self.shift = nn.Parameter(next(base.parameters()).new_zeros(dim))

    def forward_adapted(self, *inputs: Tensor) -> Float[Tensor, "... dim"]:
        return self.base(*inputs) + self.shift
