"""Bottleneck adapters: a narrow MLP after a sublayer, added to the sublayer's output.

Houlsby et al. 2019, https://arxiv.org/abs/1902.00751, figure 2: after attention and MLP, and here
also after cross-attention. Pfeiffer et al. 2020, https://arxiv.org/abs/2005.00247,
section 3.1: after the MLP only.
Deviations: the up projection starts at 0, not near 0, so that the network initially equals the
base; both placements read the sublayer's output before it is added to the residual stream.
"""

from dataclasses import dataclass
from enum import Enum

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin, require
from etude.config import AdapterConfig
from etude.network import AdapterLayer, Block, Context, Network, insert, module_slots


class Placement(Enum):
    """Which sublayers of a block get an adapter."""

    houlsby = "houlsby"
    pfeiffer = "pfeiffer"


@dataclass
class BottleneckConfig(AdapterConfig):
    size: int = 16
    """Width of the bottleneck, in features. Typical: 8-256."""
    placement: Placement = Placement.houlsby
    """houlsby = after attention and MLP, pfeiffer = after the MLP only."""
    dropout: float = 0.0
    """Dropout probability in the bottleneck, in [0, 1)."""

    def __post_init__(self) -> None:
        require(self.size >= 1, f"size must be at least 1, got {self.size}")
        require(0 <= self.dropout < 1, f"dropout must be in [0, 1), got {self.dropout}")


@plugin(BottleneckConfig)
def bottleneck(config: BottleneckConfig, network: Network) -> Network:
    """Adds a bottleneck after every sublayer that `placement` selects."""
    kinds = ("mlp",) if config.placement is Placement.pfeiffer else ("mixer", "cross", "mlp")
    sublayers = [
        slot.name
        for slot in module_slots(network)
        if isinstance(slot.parent, Block) and slot.name.rpartition(".")[2] in kinds
    ]
    return insert(
        network, sublayers, lambda module: True, lambda base: Bottleneck(config, base, network.dim)
    )


class Bottleneck(AdapterLayer):
    """y + up(dropout(gelu(down(y)))), y = base(x)."""

    def __init__(self, config: BottleneckConfig, base: nn.Module, dim: int) -> None:
        super().__init__(base)
        weight = next(base.parameters())
        self.dropout = nn.Dropout(config.dropout)
        self.down = nn.Linear(dim, config.size, dtype=weight.dtype, device=weight.device)
        self.up = nn.Linear(config.size, dim, dtype=weight.dtype, device=weight.device)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward_adapted(
        self, x: Float[Tensor, "batch seq dim"], *context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        y = self.base(x, *context)
        return y + self.up(self.dropout(F.gelu(self.down(y))))
