"""A learned vector is added to the output of every MLP of a frozen network.

Ben Zaken et al. 2021 (BitFit), https://arxiv.org/abs/2106.10199, with vectors of their own where a
bias may be lacking. They start at 0, so the start is exactly the base.
(Name your own source here, and what you do otherwise.)
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
    """Patterns of the names of modules to whose outputs a vector is added."""

    def __post_init__(self) -> None:
        require(bool(self.outputs), "outputs is empty")


@plugin(SketchConfig)
def sketch(config: SketchConfig, network: Network) -> Network:
    """Puts a vector behind every module that a pattern names."""
    return insert(
        network, config.outputs, lambda module: True, lambda base: Sketch(base, network.dim)
    )


class Sketch(AdapterLayer):
    """base(x) + shift."""

    def __init__(self, base: nn.Module, dim: int) -> None:
        super().__init__(base)
        self.shift = nn.Parameter(next(base.parameters()).new_zeros(dim))

    def forward_adapted(self, *given: Tensor) -> Float[Tensor, "... dim"]:
        return self.base(*given) + self.shift
