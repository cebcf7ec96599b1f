"""Freezing by pattern: which of the weights there are learn, and no new ones.

Lee et al. 2019, https://arxiv.org/abs/1911.03090 (the lower layers); biases alone: Ben Zaken et al.
2021 (BitFit), https://arxiv.org/abs/2106.10199, which is `frozen=["*"] trained=["*bias"]`.
After another adapter it sets weights free that this one froze, such as the head or the norms.
"""

from dataclasses import dataclass, field

from etude import plugin, require
from etude.config import AdapterConfig
from etude.network import Network, matching_names


@dataclass
class FreezeConfig(AdapterConfig):
    frozen: list[str] = field(default_factory=lambda: ["embedding*"])
    """Patterns of the names of weights that do not learn."""
    trained: list[str] = field(default_factory=list[str])
    """Patterns of those that learn all the same, whatever froze them."""

    def __post_init__(self) -> None:
        require(bool(self.frozen or self.trained), "frozen and trained are both empty")


@plugin(FreezeConfig, merges=True)
def freeze(config: FreezeConfig, network: Network) -> Network:
    """Marks the weights that learn."""
    parameters = dict(network.named_parameters())
    for learns, patterns in ((False, config.frozen), (True, config.trained)):
        for pattern in patterns:
            for name in matching_names(pattern, list(parameters)):
                parameters[name].requires_grad_(learns)
    return network
