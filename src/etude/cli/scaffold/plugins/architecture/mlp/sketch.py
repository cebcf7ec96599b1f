"""Two linear layers with a SiLU between them.

Elfwing et al. 2017, https://arxiv.org/abs/1702.03118.
(Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass

from torch import nn

from etude import plugin, require
from etude.config import MlpConfig
from etude.network import FeedForward, Parts, hidden_size


@dataclass
class SketchConfig(MlpConfig):
    ratio: float = 4.0
    """Hidden size as a multiple of the model dimension."""

    def __post_init__(self) -> None:
        require(self.ratio > 0, f"ratio must be positive, got {self.ratio}")


@plugin(SketchConfig)
def sketch(config: SketchConfig, parts: Parts) -> FeedForward:
    """Computes down(silu(up(x)))."""
    hidden = hidden_size(parts.dim, config.ratio)
    return FeedForward(parts.dim, hidden, bias=True, activation=nn.SiLU())
