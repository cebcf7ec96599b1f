"""Normal initialisation, scaled down with depth in the last layer of each residual branch.

Radford et al. 2019 (GPT-2), https://openai.com/index/better-language-models, section 2.3.
"""

import math
from dataclasses import dataclass

from torch import nn

from etude import plugin, require
from etude.config import InitConfig
from etude.network import BranchOut, draw_normal


@dataclass
class ScaledConfig(InitConfig):
    std: float = 0.02
    """Standard deviation; divided by sqrt(2 n_layers) in the last layer of a residual branch."""

    def __post_init__(self) -> None:
        require(self.std > 0, f"std must be positive, got {self.std}")


@plugin(ScaledConfig)
def scaled(config: ScaledConfig, network: nn.Module, n_layers: int) -> None:
    """Draws weights from N(0, std), ends of branches from N(0, std / sqrt(2 n_layers))."""
    draw_normal(
        network,
        lambda module: config.std / math.sqrt(2 * n_layers if isinstance(module, BranchOut) else 1),
    )
