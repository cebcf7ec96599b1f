"""Bottleneck adapters: behind a sublayer, a narrow MLP whose output is added to the sublayer's.

Houlsby et al. 2019, https://arxiv.org/abs/1902.00751, figure 2: behind attention and MLP, and here
behind the attention to a source too. Pfeiffer et al. 2020, https://arxiv.org/abs/2005.00247,
section 3.1: behind the MLP alone.
Deviations: the last map starts at 0, theirs near it, so that the start is exactly the base; both
read the sublayer's output before it joins the residual stream, Pfeiffer's placement likewise.
"""

from dataclasses import dataclass
from enum import Enum

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin, require
from etude.config import AdapterConfig
from etude.network import AdapterLayer, Block, Context, Network, insert, places


class Placement(Enum):
    """Behind which sublayers of a block an adapter stands."""

    houlsby = "houlsby"
    pfeiffer = "pfeiffer"


@dataclass
class BottleneckConfig(AdapterConfig):
    size: int = 16
    """Width of the narrow layer, in features."""
    placement: Placement = Placement.houlsby
    """Behind attention and MLP as Houlsby, or behind the MLP alone as Pfeiffer."""
    dropout: float = 0.0
    """Probability of zeroing each feature of the narrow layer, in [0, 1)."""

    def __post_init__(self) -> None:
        require(self.size >= 1, f"size must be at least 1, got {self.size}")
        require(0 <= self.dropout < 1, f"dropout must be in [0, 1), got {self.dropout}")


@plugin(BottleneckConfig)
def bottleneck(config: BottleneckConfig, network: Network) -> Network:
    """Puts a narrow MLP behind every sublayer of the placement."""
    kinds = ("mlp",) if config.placement is Placement.pfeiffer else ("mixer", "cross", "mlp")
    inside = [
        place.name
        for place in places(network)
        if isinstance(place.parent, Block) and place.name.rpartition(".")[2] in kinds
    ]
    return insert(
        network, inside, lambda module: True, lambda base: Bottleneck(config, base, network.dim)
    )


class Bottleneck(AdapterLayer):
    """y + up(dropout(gelu(down(y)))), y = base(x)."""

    def __init__(self, config: BottleneckConfig, base: nn.Module, dim: int) -> None:
        super().__init__(base)
        weight = next(base.parameters())
        self.dropout = config.dropout
        self.down = nn.Linear(dim, config.size, dtype=weight.dtype, device=weight.device)
        self.up = nn.Linear(config.size, dim, dtype=weight.dtype, device=weight.device)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def adapted(
        self, x: Float[Tensor, "batch seq dim"], *context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        y = self.base(x, *context)
        return y + self.up(F.dropout(F.gelu(self.down(y)), self.dropout, self.training))
