"""Normal initialisation with the same standard deviation everywhere.

Devlin et al. 2018 (BERT), https://arxiv.org/abs/1810.04805, appendix A.2, without the truncation
at two standard deviations.
"""

from dataclasses import dataclass

from torch import nn

from etude import plugin, require
from etude.config import InitConfig
from etude.network import draw_normal


@dataclass
class NormalConfig(InitConfig):
    std: float = 0.02
    """Standard deviation of every weight matrix and embedding table."""

    def __post_init__(self) -> None:
        require(self.std > 0, f"std must be positive, got {self.std}")


@plugin(NormalConfig)
def normal(config: NormalConfig, network: nn.Module, n_layers: int) -> None:
    """Draws matrices and tables from N(0, std) and sets biases to 0."""
    draw_normal(network, lambda module: config.std)
