"""RMSNorm: divides by the root mean square, then scales; the mean is not subtracted.

Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467, equation 4.
"""

from dataclasses import dataclass

from torch import nn

from etude import plugin, require
from etude.config import NormConfig
from etude.network import Parts


@dataclass
class RmsnormConfig(NormConfig):
    eps: float = 1e-6
    """Epsilon, added to the mean square."""

    def __post_init__(self) -> None:
        require(self.eps > 0, f"eps must be positive, got {self.eps}")


@plugin(RmsnormConfig)
def rmsnorm(config: RmsnormConfig, parts: Parts) -> nn.RMSNorm:
    """X / rms(x) * scale."""
    return nn.RMSNorm(parts.dim, config.eps)
