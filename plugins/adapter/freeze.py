"""Freezes or unfreezes existing weights by name pattern; adds no new ones.

Lee et al. 2019, https://arxiv.org/abs/1911.03090 (the lower layers); biases only: Ben Zaken et al.
2021 (BitFit), https://arxiv.org/abs/2106.10199, which is `frozen=["*"] trained=["*bias"]`.
Listed after another adapter, it can unfreeze weights that one froze, such as the head or norms.
"""

from dataclasses import dataclass, field

from etude import plugin, require
from etude.config import AdapterConfig
from etude.network import Network, matching_names


@dataclass
class FreezeConfig(AdapterConfig):
    frozen: list[str] = field(default_factory=lambda: ["embedding*"])
    """Name patterns of the weights to freeze."""
    trained: list[str] = field(default_factory=list[str])
    """Name patterns of the weights to train, even if frozen above or by an earlier adapter."""

    def __post_init__(self) -> None:
        require(bool(self.frozen or self.trained), "frozen and trained are both empty: set one")


@plugin(FreezeConfig, merges=True)
def freeze(config: FreezeConfig, network: Network) -> Network:
    """Sets requires_grad of the matching weights."""
    parameters = dict(network.named_parameters())
    for requires_grad, patterns in ((False, config.frozen), (True, config.trained)):
        for pattern in patterns:
            for name in matching_names(pattern, list(parameters)):
                parameters[name].requires_grad_(requires_grad)
    return network
