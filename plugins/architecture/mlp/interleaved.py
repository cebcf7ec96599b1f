"""Interleaved MLPs: one kind in most layers, another, such as experts, in every n-th.

Experts in every second layer: Lepikhin et al. 2020 (GShard), https://arxiv.org/abs/2006.16668;
dense first layers: Dai et al. 2024 (DeepSeekMoE), https://arxiv.org/abs/2401.06066, section 4.1,
where routing is slowest to balance. Each slot is an MLP of its own:

    architecture/mlp=interleaved architecture/mlp/main=swiglu architecture/mlp/other=moe
"""

from dataclasses import dataclass

from torch import nn

from etude import option, plugin, require
from etude.config import MlpConfig, build
from etude.network import Parts


@dataclass
class InterleavedConfig(MlpConfig):
    main: MlpConfig = option("swiglu")
    other: MlpConfig = option("moe")
    other_every: int = 2
    """Every n-th layer, counted from 1, uses the other MLP; 1 = all after the first ones."""
    n_first: int = 0
    """Number of first layers that use the main MLP. DeepSeek-V3: 3, with other_every=1."""

    def __post_init__(self) -> None:
        require(self.other_every >= 1, f"other_every must be at least 1, got {self.other_every}")
        require(self.n_first >= 0, f"n_first must be 0 or more, got {self.n_first}")


@plugin(InterleavedConfig)
def interleaved(config: InterleavedConfig, parts: Parts) -> nn.Module:
    """Builds the MLP of layer `parts.layer`."""
    others = [
        layer
        for layer in range(config.n_first, parts.n_layers)
        if (layer + 1) % config.other_every == 0
    ]
    require(
        bool(others),
        f"other_every={config.other_every} and n_first={config.n_first} leave the other MLP no "
        f"layer of {parts.n_layers}",
    )
    return build(config.other if parts.layer in others else config.main, parts)
